package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/versioning"
)

// storeClock is a clock that the test moves.
type storeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newStoreClock() *storeClock {
	return &storeClock{now: time.Date(2026, 5, 1, 10, 0, 0, 250_000_000, time.UTC)}
}

func (c *storeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *storeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// holds says by the documentation whether c holds for what a key shows.
func holds(c *Conditions, v *ObjectInfo) bool {
	if v == nil {
		return c.IfMatch == "" && c.IfVersion == "" && c.IfSize == nil && c.IfModified.IsZero()
	}
	switch {
	case c.IfMatch != "" && c.IfMatch != "*" && c.IfMatch != v.ETag,
		c.IfNoneMatch == "*" || (c.IfNoneMatch != "" && c.IfNoneMatch == v.ETag),
		c.IfVersion != "" && c.IfVersion != v.VersionID,
		c.IfSize != nil && *c.IfSize != v.Size,
		!c.IfModified.IsZero() && !c.IfModified.Truncate(time.Second).Equal(v.Modified.Truncate(time.Second)):
		return false
	}
	return true
}

// allConditions returns every combination of unset, right and wrong for a
// version; v is what right means, even if the key has no such version now.
func allConditions(v *ObjectInfo) (all []*Conditions) {
	otherSize := v.Size + 1
	if v.Size > 0 {
		otherSize = 0
	}
	other := versioning.ID{Epoch: 1, Sequence: 1 << 40}.String()
	for _, match := range []string{"", "*", v.ETag, "other"} {
		for _, none := range []string{"", "*", v.ETag, "other"} {
			for _, version := range []string{"", v.VersionID, other} {
				for _, size := range []*int64{nil, &v.Size, &otherSize} {
					for _, modified := range []time.Time{{}, v.Modified.Truncate(time.Second).Add(999 * time.Millisecond), v.Modified.Add(time.Second)} {
						all = append(all, &Conditions{IfMatch: match, IfNoneMatch: none, IfVersion: version, IfSize: size, IfModified: modified})
					}
				}
			}
		}
	}
	return all
}

// condCall is a way to change a key under conditions.
type condCall struct {
	name, op string
	size     int // of the new object; -1: it is deleted
	run      func(ctx context.Context, b *Bucket, key string, p []byte, c *Conditions) error
}

var condCalls = []condCall{
	{"put", "put", 50, func(ctx context.Context, b *Bucket, key string, p []byte, c *Conditions) error {
		_, err := b.Put(ctx, key, bytes.NewReader(p), &PutOptions{If: c})
		return err
	}},
	{"put of nothing", "put", 0, putBytesIf},
	{"put of PackMax", "put", PackMax, putBytesIf},
	{"striped put", "put", PackMax + 1, putBytesIf},
	{"async put", "put", 300, func(ctx context.Context, b *Bucket, key string, p []byte, c *Conditions) error {
		w, err := b.PutAsync(ctx, key, p, &PutOptions{If: c})
		if err != nil {
			return err
		}
		_, err = w.Wait(ctx)
		return err
	}},
	{"writer", "put", 200 << 10, func(ctx context.Context, b *Bucket, key string, p []byte, c *Conditions) error {
		w, err := b.Create(ctx, key, &PutOptions{If: c})
		if err != nil {
			return err
		}
		defer w.Abort()
		if _, err := w.Write(p); err != nil {
			return err
		}
		_, err = w.Commit()
		return err
	}},
	{"delete", "delete", -1, func(ctx context.Context, b *Bucket, key string, _ []byte, c *Conditions) error {
		_, err := b.Delete(ctx, key, &DeleteOptions{If: c})
		return err
	}},
	{"delete many", "delete", -1, func(ctx context.Context, b *Bucket, key string, _ []byte, c *Conditions) error {
		res, err := b.DeleteMany(ctx, []DeleteItem{{Key: key, If: c}})
		return errors.Join(err, res[0].Err)
	}},
}

func putBytesIf(ctx context.Context, b *Bucket, key string, p []byte, c *Conditions) error {
	_, err := b.PutBytes(ctx, key, p, &PutOptions{If: c})
	return err
}

// condStates are what a key may be before the call, by how it gets there.
var condStates = []struct {
	name string
	put  *PutOptions // nil: there is nothing
	size int
}{
	{"nothing", nil, 0},
	{"empty", &PutOptions{}, 0},
	{"small", &PutOptions{ETag: `"tag"`, Headers: Headers{ContentType: "a/b"}, Metadata: map[string]string{"k": "v"}, Tags: map[string]string{"t": "u"}}, 100},
	{"striped", &PutOptions{NoHash: true}, PackMax + 1000}, // its ETag is its version
}

// TestConditions has every combination of conditions asked of every state of a
// key, by all calls in turn: it is decided as documented, and where it fails
// nothing has changed, on no disk either.
func TestConditions(t *testing.T) {
	for _, plain := range []bool{true, false} {
		clock := newStoreClock()
		r := newRig(t, 4, 2).defaults()
		r.opts.plainIndex, r.opts.Clock = plain, clock.Now
		e := r.open()
		b := bucketOf(t, e, "bucket")
		ctx := t.Context()
		n, done, refused := 0, 0, 0
		want := map[string]*visible{} // what must be there in the end
		for _, state := range condStates {
			key := state.name
			prepare := func() *visible {
				clock.advance(time.Minute)
				if state.put == nil {
					_, err := b.Delete(ctx, key, nil)
					require.NoError(t, err)
					return nil
				}
				_, err := b.PutBytes(ctx, key, content(uint64(n), state.size), state.put)
				require.NoError(t, err)
				return look(t, b, key)
			}
			before := prepare()
			right := &ObjectInfo{ETag: "gone", VersionID: versioning.ID{Epoch: 1, Sequence: 3}.String(), Modified: clock.Now()}
			if before != nil {
				right = before.info
			}
			for i, c := range allConditions(right) {
				if n++; n%7 != 0 && (raceEnabled || !plain) && !*long {
					continue
				}
				if before != nil {
					// Those that name what was put anew since mean the latest.
					latest := allConditions(before.info)
					c = latest[i]
				}
				call := condCalls[n%len(condCalls)]
				p := content(uint64(n), max(call.size, 0))
				name := fmt.Sprintf("%s of %s if %+v", call.name, state.name, *c)
				m := e.Metrics()
				err := call.run(ctx, b, key, p, c)
				after := e.Metrics()
				if holds(c, infoIf(before)) {
					done++
					require.NoError(t, err, name)
					if now := look(t, b, key); call.size < 0 {
						require.Nil(t, now, name)
					} else {
						require.NotNil(t, now, name)
						require.True(t, bytes.Equal(p, now.body), name)
					}
					before = prepare()
					continue
				}
				refused++
				requireError(t, err, ErrPrecondition, call.op, "bucket", key, name)
				require.Equal(t, before == nil, errors.Is(err, ErrNotFound), "%s: %v", name, err)
				requireSame(t, before, look(t, b, key), name)
				require.Equal(t, m.Groups, after.Groups, name)
				require.Equal(t, m.BytesWritten, after.BytesWritten, name)
				require.Equal(t, m.BytesDead, after.BytesDead, name)
			}
			want[key] = before
		}
		t.Logf("plain=%v: %d done, %d refused", plain, done, refused)
		require.Greater(t, done, 10)
		require.Greater(t, refused, 100)
		for range 2 {
			for key, v := range want {
				requireSame(t, v, look(t, b, key), key)
			}
			r.restart(rand.New(rand.NewPCG(1, 1)))
			_ = e.Close()
			e = r.open()
			b = e.Bucket("bucket")
		}
	}
}

func infoIf(v *visible) *ObjectInfo {
	if v == nil {
		return nil
	}
	return v.info
}

// TestBadVersionInCondition is refused before anything is read or written.
func TestBadVersionInCondition(t *testing.T) {
	e := newRig(t, 2, 1).open()
	b := bucketOf(t, e, "bucket")
	info, err := b.PutBytes(t.Context(), "key", []byte("x"), nil)
	require.NoError(t, err)
	good := info.VersionID
	for _, id := range []string{"x", "null", good[1:], good + "0", good[:25] + "z", "\x00" + good[1:], string(make([]byte, 26)), "0000000000000000000000000"} {
		c := &Conditions{IfVersion: id, IfMatch: "*"}
		for _, call := range condCalls {
			requireError(t, call.run(t.Context(), b, "key", content(1, max(call.size, 0)), c), ErrVersionID, call.op, "bucket", "key", id)
		}
		_, err := b.Put(t.Context(), "key", readerFunc(func([]byte) (int, error) { panic("it is read") }), &PutOptions{If: c})
		requireError(t, err, ErrVersionID, "put", "bucket", "key")
		requireError(t, b.PutTags(t.Context(), "key", nil, &TagOptions{If: c}), ErrVersionID, "put tags", "bucket", "key")
	}
	head, err := b.Head(t.Context(), "key", nil)
	require.NoError(t, err)
	require.Equal(t, good, head.VersionID)
}

// readerFunc is an io.Reader.
type readerFunc func(p []byte) (int, error)

func (fn readerFunc) Read(p []byte) (int, error) { return fn(p) }

// TestConditionOfAStream has the key change while an object of each size streams
// in: what holds at the commit counts, and the bytes of one that is refused are
// counted as dead.
func TestConditionOfAStream(t *testing.T) {
	for _, size := range []int{100, PackMax, PackMax + 1, 5 << 20} {
		for _, change := range []bool{false, true} {
			e := newRig(t, 4, 2).open()
			b := bucketOf(t, e, "bucket")
			old, err := b.PutBytes(t.Context(), "key", content(1, 10), nil)
			require.NoError(t, err)
			w, err := b.Create(t.Context(), "key", &PutOptions{If: &Conditions{IfMatch: old.ETag, IfVersion: old.VersionID}})
			require.NoError(t, err)
			p := content(2, size)
			_, err = w.Write(p)
			require.NoError(t, err)
			want := p
			if change {
				want = content(3, 10)
				_, err = b.PutBytes(t.Context(), "key", want, nil)
				require.NoError(t, err)
			}
			before := e.Metrics()
			_, err = w.Commit()
			dead := e.Metrics().BytesDead - before.BytesDead
			switch {
			case !change:
				require.NoError(t, err)
				require.Zero(t, dead)
			case size <= PackMax:
				requireError(t, err, ErrPrecondition, "put", "bucket", "key")
				require.Zero(t, dead)
				require.Equal(t, before.BytesWritten, e.Metrics().BytesWritten)
			default:
				requireError(t, err, ErrPrecondition, "put", "bucket", "key")
				require.GreaterOrEqual(t, dead, int64(size)*6/4, "with its parity")
				require.Less(t, dead, int64(size)*6/4+6*64<<10+int64(size)/10)
			}
			got, err := read(b, "key")
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
			idle(t, e)
		}
	}
}

// TestConditionSavesTheStream: of an object that cannot be stored hardly more is
// read than tells that it is large.
func TestConditionSavesTheStream(t *testing.T) {
	e := newRig(t, 4, 2).open()
	b := bucketOf(t, e, "bucket")
	_, err := b.PutBytes(t.Context(), "key", nil, nil)
	require.NoError(t, err)
	n := 0
	_, err = b.Put(t.Context(), "key", readerFunc(func(p []byte) (int, error) { n += len(p); return len(p), nil }), &PutOptions{If: &Conditions{IfNoneMatch: "*"}})
	requireError(t, err, ErrPrecondition, "put", "bucket", "key")
	require.LessOrEqual(t, n, PackMax+1)
	w, err := b.Create(t.Context(), "key", &PutOptions{If: &Conditions{IfNoneMatch: "*"}})
	require.NoError(t, err)
	_, err = io.Copy(w, io.LimitReader(&endless{}, 1<<40))
	requireError(t, err, ErrPrecondition, "put", "bucket", "key")
	_, err = w.Commit()
	requireError(t, err, ErrPrecondition, "put", "bucket", "key")
	idle(t, e)
}
