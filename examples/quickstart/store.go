package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairnstore/cairn/engine"
)

// store puts every original into the bucket.
func (d *demo) store(ctx context.Context, b *engine.Bucket) error {
	err := d.phase(ctx, &d.stored, "Stored", d.source.originals, func(ctx context.Context, o *original, _ *buffers) (err error) {
		r := o.open()
		defer func() { err = errors.Join(err, r.Close()) }()
		info, err := b.Put(ctx, o.key, r, &engine.PutOptions{Headers: engine.Headers{ContentType: contentType(o.key)}})
		if err == nil && info.Size != o.size {
			err = fmt.Errorf("%s: %d bytes were stored of %d; is the file being written?", o.key, info.Size, o.size)
		}
		return err
	})
	if err == nil {
		d.printf("  from %s with %d goroutines, each object durable before its Put returned\n", d.source.root, workers)
	}
	return err
}

// list shows one level below a prefix and checks that a whole listing has
// every object once, in order, and nothing else.
func (d *demo) list(ctx context.Context, b *engine.Bucket) error {
	prefix := ""
	if slices.ContainsFunc(d.source.originals, func(o original) bool { return strings.HasPrefix(o.key, "src/") }) {
		prefix = "src/"
	}
	var names []string
	prefixes := 0
	for o, err := range b.List(ctx, &engine.ListOptions{Prefix: prefix, Delimiter: "/"}) {
		if err != nil {
			return err
		}
		if o.IsPrefix {
			prefixes++
		}
		names = append(names, o.Key)
	}
	d.printf("Listed %q up to the next \"/\": %d prefixes and %d objects\n", prefix, prefixes, len(names)-prefixes)
	for _, name := range names[:min(3, len(names))] {
		d.printf("  %s\n", name)
	}
	if len(names) > 3 {
		d.printf("  ... %s\n", names[len(names)-1])
	}

	want := make(map[string]int64, len(d.source.originals))
	for i := range d.source.originals {
		want[d.source.originals[i].key] = d.source.originals[i].size
	}
	last := ""
	for o, err := range b.List(ctx, nil) {
		if err != nil {
			return err
		}
		size, ok := want[o.Key]
		if !ok || size != o.Size || o.Key <= last {
			return fmt.Errorf("the listing shows %s with %d bytes after %q, which is not what was stored", o.Key, o.Size, last)
		}
		delete(want, o.Key)
		last = o.Key
	}
	if len(want) > 0 {
		return fmt.Errorf("the listing leaves out %d objects, one of them %s", len(want), slices.Min(slices.Collect(maps.Keys(want))))
	}
	return nil
}
