//go:build !race

package model

const defaultHistories = 50_000
