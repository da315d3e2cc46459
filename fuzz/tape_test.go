package fuzz

import (
	"encoding/binary"
	"math/rand/v2"
)

// tape is fuzz input read as a row of small numbers. Past its end all are zero.
type tape struct{ b []byte }

func (t *tape) more() bool { return len(t.b) > 0 }

// byte takes one byte.
func (t *tape) byte() byte {
	if len(t.b) == 0 {
		return 0
	}
	c := t.b[0]
	t.b = t.b[1:]
	return c
}

// n takes a number below limit: from one byte, from two where one would not do.
func (t *tape) n(limit int) int {
	v := int(t.byte())
	if limit > 256 {
		v = v<<8 | int(t.byte())
	}
	return v % limit
}

// one reports whether a thing of one chance in n happens.
func (t *tape) one(n int) bool { return t.n(n) == n-1 }

// rand returns a source that two bytes of the tape seed.
func (t *tape) rand() *rand.Rand { return rand.New(rand.NewPCG(uint64(t.n(1<<16)), 7)) }

// content returns n bytes that look random and are the same for a seed.
func content(seed uint64, n int) []byte {
	p := make([]byte, n)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}
