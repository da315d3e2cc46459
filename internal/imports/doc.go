// Package imports holds no code. Its test keeps the layering of the module:
// which room may import which, which room may know which outside package, and
// that libraries do not print, exit or read the environment. The tables are in
// rules_test.go; ARCHITECTURE.md has the picture.
package imports
