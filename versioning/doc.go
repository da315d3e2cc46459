// Package versioning says what a version of an object is and how it is named.
//
// It is pure: values in, values out. Order among versions is the commit
// sequence alone, never a clock.
package versioning
