package fuzz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cairnstore/cairn/engine"
)

// compare returns an error unless e shows exactly what w holds. Version ids that
// w does not know yet are noted in it.
func compare(e *engine.Engine, w twin) error {
	infos, err := e.Buckets(context.Background())
	if err != nil {
		return err
	}
	var have []string
	for _, b := range infos {
		have = append(have, b.Name)
	}
	if want := slices.Sorted(maps.Keys(w)); !slices.Equal(have, want) {
		return fmt.Errorf("buckets %q instead of %q", have, want)
	}
	for _, b := range infos {
		var size int64
		for _, v := range w[b.Name].keys {
			size += int64(len(v.data))
		}
		if n := len(w[b.Name].keys); b.Objects != int64(n) || b.Bytes != size {
			return fmt.Errorf("bucket %s has %d objects of %d bytes instead of %d of %d", b.Name, b.Objects, b.Bytes, n, size)
		}
		if err := compareBucket(e.Bucket(b.Name), w[b.Name]); err != nil {
			return fmt.Errorf("bucket %s: %w", b.Name, err)
		}
	}
	return nil
}

func compareBucket(b *engine.Bucket, want *bucket) error {
	ctx := context.Background()
	settings, err := b.Settings(ctx)
	if err != nil {
		return err
	}
	if note := settings.Tags["note"]; note != want.note {
		return fmt.Errorf("settings have the note %q instead of %q", note, want.note)
	}
	keys := slices.Sorted(maps.Keys(want.keys))
	n := 0
	for info, err := range b.List(ctx, nil) {
		if err != nil {
			return err
		}
		if n == len(keys) || info.Key != keys[n] {
			return fmt.Errorf("entry %d of the listing is %.40q instead of those of %.40q", n, info.Key, keys)
		}
		n++
		v := want.keys[info.Key]
		if err := v.is(info); err != nil {
			return fmt.Errorf("listed %.40q: %w", info.Key, err)
		}
		if err := compareObject(b, info.Key, v); err != nil {
			return err
		}
	}
	if n != len(keys) {
		return fmt.Errorf("a listing of %d entries instead of those of %.40q", n, keys)
	}
	return nil
}

// compareObject compares head and content of a key with v, nil for none.
func compareObject(b *engine.Bucket, key string, v *value) error {
	ctx := context.Background()
	head, err := b.Head(ctx, key, nil)
	if v == nil {
		if !errors.Is(err, engine.ErrNotFound) {
			return fmt.Errorf("head of %.40q, which is not there: %+v, %v", key, head, err)
		}
		if _, err := b.Get(ctx, key, nil); !errors.Is(err, engine.ErrNotFound) {
			return fmt.Errorf("get of %.40q, which is not there: %v", key, err)
		}
		return nil
	}
	if err == nil {
		err = v.is(head)
	}
	if err == nil && (!maps.Equal(head.Metadata, v.opts.Metadata) || !maps.Equal(head.Tags, v.opts.Tags)) {
		err = fmt.Errorf("metadata %q and tags %q instead of %q and %q", head.Metadata, head.Tags, v.opts.Metadata, v.opts.Tags)
	}
	if err != nil {
		return fmt.Errorf("head of %.40q: %w", key, err)
	}
	v.note(head)
	if head.ETag != v.etag() {
		return fmt.Errorf("head of %.40q: ETag %q instead of %q", key, head.ETag, v.etag())
	}
	o, err := b.Get(ctx, key, nil)
	if err != nil {
		return fmt.Errorf("get of %.40q: %w", key, err)
	}
	if err := v.is(o.Info()); err != nil {
		return fmt.Errorf("get of %.40q: %w", key, err)
	}
	p, err := readAll(o)
	if err != nil {
		return fmt.Errorf("get of %.40q: %w", key, err)
	}
	if !bytes.Equal(p, v.data) {
		return fmt.Errorf("get of %.40q: other bytes, %d of them instead of %d", key, len(p), len(v.data))
	}
	return nil
}

// is returns an error unless info describes v.
func (v *value) is(info *engine.ObjectInfo) error {
	want := *info
	want.Size, want.HasHash, want.Headers = int64(len(v.data)), v.hashed(), v.opts.Headers
	if want.Hash = v.hash; !want.HasHash {
		want.Hash = engine.Hash{}
	}
	if v.version != "" {
		want.VersionID, want.Modified = v.version, v.modified
	}
	if info.Size != want.Size || info.HasHash != want.HasHash || info.Hash != want.Hash || info.Headers != want.Headers ||
		info.VersionID != want.VersionID || !info.Modified.Equal(want.Modified) {
		return fmt.Errorf("%+v instead of %+v", *info, want)
	}
	return nil
}

// note takes the version and the time that the store gave v.
func (v *value) note(info *engine.ObjectInfo) { v.version, v.modified = info.VersionID, info.Modified }
