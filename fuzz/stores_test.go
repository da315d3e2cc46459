package fuzz

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/blake3"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/memdisk"
	"github.com/cairnstore/cairn/engine"
	"github.com/cairnstore/cairn/erasure"
)

// Whole stores of every format version, as archives of what their disks hold,
// beside a list of what must be found in them: testdata/stores/v1-4+2.tar.gz
// and .txt. They are never written again. When a format gets a new version:
//
//	go test ./fuzz -run TestGoldenStores -newstore v2
var newStore = flag.String("newstore", "", "make golden stores under this name")

const storesDir = "testdata/stores"

// TestGoldenStores opens stores as older programs left them, with all disks and
// without any m of them, and finds everything; and goes on writing to them.
func TestGoldenStores(t *testing.T) {
	if *newStore != "" {
		for _, g := range []erasure.Geometry{{Data: 4, Parity: 2}, {Data: 1}} {
			makeStore(t, g, filepath.Join(storesDir, fmt.Sprintf("%s-%s", *newStore, g)))
		}
	}
	archives, err := filepath.Glob(filepath.Join(storesDir, "*.tar.gz"))
	require.NoError(t, err)
	require.NotEmpty(t, archives)
	for _, archive := range archives {
		base := strings.TrimSuffix(archive, ".tar.gz")
		t.Run(filepath.Base(base), func(t *testing.T) {
			want, err := os.ReadFile(base + ".txt")
			require.NoError(t, err)
			all := loadStore(t, archive)
			g := geometryOf(t, base)
			require.Len(t, all, g.Shards())
			for _, absent := range absences(len(all), g.Parity) {
				var disks []disk.Disk
				m := memdisk.NewMachine()
				for i, im := range all {
					if !slices.Contains(absent, i) {
						disks = append(disks, m.NewDiskFrom(fmt.Sprintf("d%d", i), im))
					}
				}
				e, err := engine.Open(context.Background(), &engine.Options{Disks: disks, CacheBytes: 1 << 20, MemTableBytes: 256 << 10})
				require.NoError(t, err)
				require.False(t, e.Status().ReadOnly, "%v", e.Status().Reason)
				got, err := manifest(e)
				require.NoError(t, err, "without %v", absent)
				require.Equal(t, string(want), got, "without %v", absent)
				_, err = e.Bucket("alpha").PutBytes(context.Background(), "new", []byte("new"), nil)
				require.NoError(t, err)
				require.NoError(t, e.Close())
			}
		})
	}
}

// absences returns all choices of up to m of n disks.
func absences(n, m int) [][]int {
	all := [][]int{nil}
	if m > 0 {
		for i := range n {
			all = append(all, []int{i})
			for j := range i {
				if m > 1 {
					all = append(all, []int{j, i})
				}
			}
		}
	}
	return all
}

func geometryOf(t *testing.T, base string) erasure.Geometry {
	_, name, _ := strings.Cut(filepath.Base(base), "-")
	g, err := erasure.ParseGeometry(name)
	require.NoError(t, err)
	return g
}

// manifest returns what the store holds, as text, having read all of it.
func manifest(e *engine.Engine) (string, error) {
	ctx := context.Background()
	var b strings.Builder
	buckets, err := e.Buckets(ctx)
	if err != nil {
		return "", err
	}
	for _, info := range buckets {
		bucket := e.Bucket(info.Name)
		settings, err := bucket.Settings(ctx)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "bucket %s of %s: %d objects of %d bytes, tags %q, documents %q\n",
			info.Name, stamp(info.Created), info.Objects, info.Bytes, settings.Tags, settings.Documents)
		for o, err := range bucket.List(ctx, nil) {
			if err != nil {
				return "", err
			}
			obj, err := bucket.Get(ctx, o.Key, nil)
			if err != nil {
				return "", err
			}
			i := obj.Info()
			p, err := readAll(obj)
			if err != nil {
				return "", err
			}
			if i.HasHash != (i.Hash != engine.Hash{}) || i.HasHash && i.Hash != blake3.Sum256(p) {
				return "", fmt.Errorf("%q: content does not match %v", i.Key, i.Hash)
			}
			fmt.Fprintf(&b, "  %q: %d bytes, %s, version %s of %s, hash %v\n", i.Key, i.Size, engine.Hash(blake3.Sum256(p)), i.VersionID, stamp(i.Modified), i.HasHash)
			fmt.Fprintf(&b, "    etag %q, headers %q, metadata %q, tags %q\n", i.ETag, i.Headers, i.Metadata, i.Tags)
		}
	}
	return b.String(), nil
}

// loadStore returns the disks of an archive.
func loadStore(t *testing.T, archive string) []*memdisk.Image {
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	byName := map[string]*memdisk.Disk{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		dir, name := path.Split(h.Name)
		if byName[dir] == nil {
			byName[dir] = memdisk.New(dir)
		}
		p, err := io.ReadAll(r)
		require.NoError(t, err)
		file, err := byName[dir].Create(name, int64(len(p)))
		require.NoError(t, err)
		_, err = file.WriteAt(p, 0)
		require.NoError(t, err)
		require.NoError(t, file.Sync())
	}
	var all []*memdisk.Image
	for _, dir := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[dir].Image())
	}
	return all
}

// saveStore writes what the disks hold to a new archive.
func saveStore(t *testing.T, disks []*memdisk.Disk, archive string) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	require.NoError(t, err)
	w := tar.NewWriter(z)
	for i, d := range disks {
		d = d.Reopen()
		entries, err := d.List()
		require.NoError(t, err)
		for _, entry := range entries {
			f, err := d.Open(entry.Name)
			require.NoError(t, err)
			p := make([]byte, entry.Size)
			_, err = f.ReadAt(p, 0)
			require.True(t, err == nil || errors.Is(err, io.EOF), "%v", err)
			require.NoError(t, w.WriteHeader(&tar.Header{Name: fmt.Sprintf("d%d/%s", i, entry.Name), Mode: 0o600, Size: entry.Size, Format: tar.FormatUSTAR}))
			_, err = w.Write(p)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	writeNew(t, archive, b.Bytes())
}

// writeNew writes a file that must not be there yet.
func writeNew(t *testing.T, name string, p []byte) {
	_, err := os.Stat(name)
	require.ErrorIs(t, err, fs.ErrNotExist, "golden stores are never written again")
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
	require.NoError(t, os.WriteFile(name, p, 0o666))
}
