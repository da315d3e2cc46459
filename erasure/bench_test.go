package erasure

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

var benchGeometries = []Geometry{{2, 1}, {4, 2}, {8, 3}, {8, 4}, {12, 4}, {17, 3}, {32, 16}}

// benchStripe returns data and parity of whole 64 KiB blocks.
func benchStripe(tb testing.TB, g Geometry, size int) (c *Codec, data, parity [][]byte) {
	c = newCodec(tb, g)
	r := rand.New(rand.NewPCG(16, 0))
	for range g.Data {
		data = append(data, randomBytes(r, size))
	}
	parity = makeBlocks(g.Parity, size)
	noError(tb, c.Encode(data, parity))
	return c, data, parity
}

func sizeName(n int) string { return fmt.Sprintf("size=%dKiB", n>>10) }

func BenchmarkEncode(b *testing.B) {
	for _, g := range benchGeometries {
		for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("k=%d/m=%d/%s", g.Data, g.Parity, sizeName(size)), func(b *testing.B) {
				c, data, parity := benchStripe(b, g, size)
				b.SetBytes(int64(g.Data * size))
				b.ReportAllocs()
				for b.Loop() {
					_ = c.Encode(data, parity)
				}
			})
		}
	}
}

// A group's blocks end at different places.
func BenchmarkEncodeRagged(b *testing.B) {
	c, data, parity := benchStripe(b, Geometry{4, 2}, 64<<10)
	total := 0
	for i := range data {
		data[i] = data[i][:len(data[i])-i*9001]
		total += len(data[i])
	}
	b.SetBytes(int64(total))
	b.ReportAllocs()
	for b.Loop() {
		_ = c.Encode(data, parity)
	}
}

func BenchmarkReconstruct(b *testing.B) {
	for _, g := range benchGeometries {
		for _, lost := range []int{1, g.Parity} {
			b.Run(fmt.Sprintf("k=%d/m=%d/size=64KiB/lost=%d", g.Data, g.Parity, lost), func(b *testing.B) {
				c, data, parity := benchStripe(b, g, 64<<10)
				blocks := append(data, parity...)
				var want []int
				for i := range min(lost, g.Data) {
					blocks[i] = nil
					want = append(want, i)
				}
				dst := makeBlocks(len(want), 64<<10)
				b.SetBytes(int64(g.Data * 64 << 10))
				b.ReportAllocs()
				for b.Loop() {
					_ = c.Reconstruct(blocks, 64<<10, want, dst)
				}
			})
		}
	}
}

func BenchmarkSealFrame(b *testing.B) {
	for _, n := range []int{1000, 4000, 16000, FrameData} {
		b.Run(fmt.Sprintf("data=%d", n), func(b *testing.B) {
			frame, _ := sealed(testKey, n, 0)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				testKey.SealFrame(frame, n, 0)
			}
		})
	}
}

func BenchmarkOpenFrame(b *testing.B) {
	for _, n := range []int{1000, 4000, 16000, FrameData} {
		b.Run(fmt.Sprintf("data=%d", n), func(b *testing.B) {
			frame, _ := sealed(testKey, n, 0)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = testKey.OpenFrame(frame, 0)
			}
		})
	}
}

func BenchmarkNewKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewKey(testPool, testSegment, 3)
	}
}

func BenchmarkGetBuffer(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		GetBuffer(FrameSize).Release()
	}
}
