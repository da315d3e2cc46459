// Package readme_test keeps the README's example compiling and true.
package readme_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairnstore/cairn/disk"
	"github.com/cairnstore/cairn/disk/filedisk"
	"github.com/cairnstore/cairn/engine"
)

func Example() {
	ctx := context.Background()
	home, err := os.MkdirTemp("", "cairn-")
	check(err)
	defer os.RemoveAll(home)

	var disks []disk.Disk // six directories; in earnest, one on each physical disk
	for i := range 6 {
		dir := filepath.Join(home, fmt.Sprint("disk", i+1))
		check(os.Mkdir(dir, 0o777))
		d, err := filedisk.Open(dir, nil)
		check(err)
		disks = append(disks, d)
	}
	e, err := engine.Open(ctx, &engine.Options{Disks: disks, IndexDir: filepath.Join(home, "index")})
	check(err)
	defer e.Close()

	check(e.CreateBucket(ctx, "models"))
	b := e.Bucket("models")
	info, err := b.Put(ctx, "v1/weights.txt", strings.NewReader("0.25 0.5 0.75\n"), nil) // any io.Reader
	check(err)
	fmt.Println("survives the loss of", info.Survives, "disks")

	for o, err := range b.List(ctx, &engine.ListOptions{Prefix: "v1/"}) {
		check(err)
		fmt.Println(o.Key, o.Size)
	}
	obj, err := b.Get(ctx, "v1/weights.txt", nil)
	check(err)
	defer obj.Close()
	_, err = io.Copy(os.Stdout, obj)
	check(err)
	// Output:
	// survives the loss of 2 disks
	// v1/weights.txt 14
	// 0.25 0.5 0.75
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
