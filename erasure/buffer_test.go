package erasure

import (
	"sync"
	"testing"
)

func TestGetBuffer(t *testing.T) {
	for _, n := range []int{0, 1, Align - 1, Align, Align + 1, 5120, 5121, FrameSize, 6 * FrameSize, 16<<20 - 1, 16 << 20, 16<<20 + 1} {
		for range 3 {
			b := GetBuffer(n)
			equal(t, n, len(b.B))
			equal(t, 0, skew(b.B[:cap(b.B)]), "%d bytes: alignment", n)
			for i := range b.B {
				b.B[i] = byte(n)
			}
			b.B = b.B[n/2:] // the caller may reslice
			b.Release()
		}
	}
	(*Buffer)(nil).Release()
	panics(t, func() { GetBuffer(-1) })
	b := &Buffer{B: make([]byte, 1), class: -1}
	b.Release()
	panics(t, b.Release)
}

// The runtime aligns some allocations by chance; of many at once it does not.
func TestBuffersAreAligned(t *testing.T) {
	var held []*Buffer
	for n := 1; n <= 3*FrameSize; n += 1021 {
		for range 4 {
			held = append(held, GetBuffer(n))
		}
	}
	for _, b := range held {
		equal(t, 0, skew(b.B), "%d bytes", len(b.B))
		b.Release()
	}
}

// Every length fits its class, classes grow, and none wastes more than a fifth
// above the smallest.
func TestSizeClasses(t *testing.T) {
	lastClass, lastSize := 0, 1<<minBufferBits
	for n := 1; n <= 1<<maxBufferBits; n += 1 + n/1000 {
		class, size := sizeClass(n)
		if size < n || class < lastClass || class >= numClasses || (class == lastClass) != (size == lastSize) {
			t.Fatalf("%d bytes: class %d of %d bytes after class %d of %d", n, class, size, lastClass, lastSize)
		}
		if n > 1<<minBufferBits && size-n > size/5 {
			t.Fatalf("%d bytes: class of %d", n, size)
		}
		lastClass, lastSize = class, size
	}
	class, size := sizeClass(1 << maxBufferBits)
	equal(t, numClasses-1, class)
	equal(t, 1<<maxBufferBits, size)
	class, _ = sizeClass(1<<maxBufferBits + 1)
	equal(t, -1, class)
}

// Two owners never share memory.
func TestBuffersConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				b := GetBuffer(1000 + i*37)
				for j := range b.B {
					b.B[j] = byte(g)
				}
				for j, c := range b.B {
					if c != byte(g) {
						t.Errorf("byte %d of another owner", j)
						return
					}
				}
				b.Release()
			}
		})
	}
	wg.Wait()
}
