//go:build race

package payload

// raceEnabled: everything takes ten times as long, so some tests do less.
const raceEnabled = true
