package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
)

const page = 4096

// raw is a file on each of as many directories as a store has disks, filled
// with zeros, that writes go around in. It measures what the disks do.
type raw struct {
	roots  []string
	size   int64 // of each file
	files  []*os.File
	direct []*os.File // the same with O_DIRECT; nil where there is none
	next   []int64
	buf    []byte
	cached int64 // so much of each file is in the page cache; O_DIRECT drops it
}

const rawPiece = 1 << 20

// newRaw makes files of size bytes in new directories in places.
func newRaw(places []string, size int64) (*raw, error) {
	r := &raw{size: size, buf: alignedNoise(16 << 20), next: make([]int64, shards)}
	for _, place := range places {
		root, err := os.MkdirTemp(place, "cairn-bench-raw-")
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.roots = append(r.roots, root)
	}
	zeros := make([]byte, rawPiece)
	for i := range shards {
		name := filepath.Join(r.roots[i%len(r.roots)], fmt.Sprintf("raw%d", i))
		f, err := os.Create(name)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.files = append(r.files, f)
		for at := int64(0); at < size; at += rawPiece {
			if _, err := f.WriteAt(zeros, at); err != nil {
				return nil, errors.Join(err, r.close())
			}
		}
		if err := f.Sync(); err != nil {
			return nil, errors.Join(err, r.close())
		}
		if d, err := openDirect(name); err == nil {
			r.direct = append(r.direct, d)
		}
	}
	if len(r.direct) < len(r.files) {
		for _, f := range r.direct {
			_ = f.Close()
		}
		r.direct = nil
	}
	return r, nil
}

func (r *raw) close() error {
	var errs []error
	for _, f := range append(r.files, r.direct...) {
		errs = append(errs, f.Close())
	}
	for _, root := range r.roots {
		errs = append(errs, os.RemoveAll(root))
	}
	return errors.Join(errs...)
}

// alignedNoise returns n bytes of noise that begin at the start of a page.
func alignedNoise(n int) []byte {
	p := make([]byte, n+page)
	off := int(-uintptr(unsafe.Pointer(&p[0])) & (page - 1))
	p = p[off : off+n]
	copy(p, noise(n))
	return p
}

// place returns where the next n bytes of file i go. It goes around.
func (r *raw) place(i int, n int64) int64 {
	if r.next[i]+n > r.size {
		r.next[i] = 0
	}
	at := r.next[i]
	r.next[i] += n
	return at
}

func alignUp(n int64) int64 { return (n + page - 1) &^ (page - 1) }

// groups writes so many groups one after another: each is width pieces of size
// bytes on as many files, in turn, written and fdatasynced at once.
func (r *raw) groups(groups, width int64, size int64) (time.Duration, error) {
	size = min(alignUp(max(size, 1)), int64(len(r.buf)))
	errs := make([]error, len(r.files))
	begin := time.Now()
	turn := 0
	for range groups {
		var wg sync.WaitGroup
		for w := range int(width) {
			i := (turn + w) % len(r.files)
			at := r.place(i, size)
			write := func() {
				_, err := r.files[i].WriteAt(r.buf[:size], at)
				if err == nil {
					err = dataSync(r.files[i])
				}
				if err != nil {
					errs[i] = err
				}
			}
			if w == int(width)-1 {
				write()
			} else {
				wg.Go(write)
			}
		}
		wg.Wait()
		turn += int(width)
	}
	return time.Since(begin), errors.Join(errs...)
}

// stream writes so many bytes over all files in so many pieces, each followed
// by an fdatasync. The files do not wait for one another.
func (r *raw) stream(bytes, syncs int64, direct bool) (time.Duration, error) {
	files := r.files
	if direct {
		files, r.cached = r.direct, 0
	}
	piece := min(alignUp(max(bytes/max(syncs, 1), 1)), r.size)
	return r.streamTo(len(files), bytes, piece,
		func(i int, p []byte, at int64) error { _, err := files[i].WriteAt(p, at); return err },
		func(i int) error { return dataSync(files[i]) },
		r.place)
}

// fresh is stream into space that was taken and never written, past the page
// cache where that is possible: what new data must do that is not to be written
// twice, once as zeros.
func (r *raw) fresh(bytes, syncs int64) (took time.Duration, err error) {
	each := alignUp(bytes / shards)
	files, next := make([]disk.File, shards), make([]int64, shards)
	for i := range files {
		dir, err := os.MkdirTemp(r.roots[i%len(r.roots)], "fresh")
		if err != nil {
			return 0, err
		}
		d, err := filedisk.Open(dir, nil)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, d.Close(), os.RemoveAll(dir)) }()
		if files[i], err = d.Create("raw", page); err != nil {
			return 0, err
		}
		next[i] = page
		if err := disk.Reserve(files[i], each+page); err != nil {
			return 0, err
		}
	}
	return r.streamTo(shards, bytes, alignUp(max(bytes/max(syncs, 1), 1)),
		func(i int, p []byte, at int64) error { _, err := files[i].WriteAt(p, at); return err },
		func(i int) error { return files[i].Sync() },
		func(i int, n int64) int64 { next[i] += n; return next[i] - n })
}

func (r *raw) streamTo(files int, bytes, piece int64, write func(i int, p []byte, at int64) error, flush func(i int) error, place func(i int, n int64) int64) (time.Duration, error) {
	each := alignUp(bytes / int64(files))
	errs := make([]error, files)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range files {
		wg.Go(func() {
			for done := int64(0); done < each && errs[i] == nil; {
				n := min(piece, each-done)
				at := place(i, n)
				for p := int64(0); p < n && errs[i] == nil; p += rawPiece {
					errs[i] = write(i, r.buf[:min(rawPiece, n-p)], at+p)
				}
				if errs[i] == nil {
					errs[i] = flush(i)
				}
				done += n
			}
		})
	}
	wg.Wait()
	return time.Since(begin), errors.Join(errs...)
}

// read reads pieces of size bytes from anywhere in the first span bytes of all
// files, which are in the page cache, for about limit, in so many goroutines;
// with verify it hashes them too.
func (r *raw) read(goroutines int, size, span int64, limit time.Duration, verify bool) (sample, error) {
	in := max(min(span/int64(len(r.files)), r.size)&^(page-1), alignUp(size))
	if err := r.warm(in); err != nil {
		return sample{}, err
	}
	bufs := make([][]byte, goroutines)
	for g := range bufs {
		bufs[g] = alignedNoise(int(size))
	}
	// So that the clock is not looked at for each small read.
	batch := max(1, 256<<10/size)
	return measure(nil, func() (int64, int64, error) {
		n, err := crew(goroutines, 1<<62, limit, func(g, _ int) error {
			for range batch {
				f := r.files[rand.IntN(len(r.files))]
				at := rand.Int64N((in-size)/page+1) * page
				if _, err := f.ReadAt(bufs[g], at); err != nil {
					return err
				}
				if verify {
					_ = blake3.Sum256(bufs[g])
				}
			}
			return nil
		})
		return n * batch, n * batch * size, err
	})
}

// warm reads the first n bytes of all files into the page cache.
func (r *raw) warm(n int64) error {
	p := make([]byte, rawPiece)
	for _, f := range r.files {
		for at := r.cached; at < n; at += rawPiece {
			if _, err := f.ReadAt(p[:min(rawPiece, n-at)], at); err != nil {
				return err
			}
		}
	}
	r.cached = max(r.cached, n)
	return nil
}
