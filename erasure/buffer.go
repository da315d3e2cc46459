package erasure

import (
	"math/bits"
	"sync"
	"unsafe"
)

// Buffers come in size classes, four to a doubling, so that at most a fifth of
// one is unused. Longer ones are left to the garbage collector.
const (
	minBufferBits = 12 // 4 KiB
	maxBufferBits = 24 // 16 MiB
	numClasses    = (maxBufferBits-minBufferBits)*4 + 1
)

var bufferPools [numClasses]sync.Pool // of *Buffer

// Buffer is a pooled byte slice for frames, blocks and rows. Its owner may
// reslice B; the memory goes back with Release whatever B is then.
type Buffer struct {
	// B starts on an address that Align divides and is as long as was asked
	// for. Its content is whatever the last user left.
	B []byte

	mem   []byte // the whole size class
	class int    // index in bufferPools, -1 if it goes to none
}

// GetBuffer returns a buffer with len(B) = n. It does not allocate once its
// size class is warm; n above 16 MiB is never pooled. A negative n is a panic.
func GetBuffer(n int) *Buffer {
	class, size := sizeClass(n)
	if class < 0 {
		return &Buffer{B: alignedBytes(n)[:n:n], class: -1}
	}
	b, _ := bufferPools[class].Get().(*Buffer)
	if b == nil {
		b = &Buffer{mem: alignedBytes(size), class: class}
	}
	b.B = b.mem[:n]
	return b
}

// Release gives the memory back; nobody may use B or a part of it after that.
// Releasing nil does nothing, releasing twice is a panic where it is noticed.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	if b.B == nil {
		panic("erasure: buffer released twice")
	}
	b.B = nil
	if b.class >= 0 {
		poison(b.mem)
		bufferPools[b.class].Put(b)
	}
}

// sizeClass returns the class for n bytes and its size, or -1 if n is too long.
func sizeClass(n int) (class, size int) {
	if n <= 1<<minBufferBits {
		return 0, 1 << minBufferBits
	}
	if n > 1<<maxBufferBits {
		return -1, 0
	}
	exp := bits.Len(uint(n-1)) - 1 // n is in (1<<exp, 2<<exp]
	step := 1 << (exp - 2)
	quarter := (n - 1<<exp + step - 1) / step // 1-4
	return (exp-minBufferBits)*4 + quarter, 1<<exp + quarter*step
}

// alignedBytes returns n bytes at an address that Align divides.
func alignedBytes(n int) []byte {
	// The runtime page-aligns what is large, but does not promise it.
	b := make([]byte, n)
	if skew(b) == 0 {
		return b
	}
	b = make([]byte, n+Align)
	from := (Align - skew(b)) % Align
	return b[from : from+n : from+n]
}

// skew returns how far b starts past a multiple of Align.
func skew(b []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % Align)
}
