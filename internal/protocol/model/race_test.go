//go:build race

package model

const defaultHistories = 5_000
