package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/disk/faultdisk"
)

// race puts key, which must not exist, in a way of racer w.
func race(ctx context.Context, b *Bucket, key string, w int) (*ObjectInfo, error) {
	opts := &PutOptions{If: &Conditions{IfNoneMatch: "*"}, Metadata: map[string]string{"racer": strconv.Itoa(w)}}
	p := content(uint64(w), 100+w)
	switch {
	case w%16 == 5:
		return b.PutBytes(ctx, key, content(uint64(w), PackMax+1+w), opts)
	case w%4 == 1:
		pending, err := b.PutAsync(ctx, key, p, opts)
		if err != nil {
			return nil, err
		}
		return pending.Wait(ctx)
	case w%4 == 2:
		writer, err := b.Create(ctx, key, opts)
		if err != nil {
			return nil, err
		}
		defer writer.Abort()
		if _, err := writer.Write(p); err != nil {
			return nil, err
		}
		return writer.Commit()
	default:
		return b.PutBytes(ctx, key, p, opts)
	}
}

// TestOneWinner has 32 goroutines put one key that must not exist, again and
// again, while a disk is lost and another fails: each time one of them succeeds,
// its object is what is there, and the others are told.
func TestOneWinner(t *testing.T) {
	for _, failing := range []bool{false, true} {
		t.Run(fmt.Sprint("failing=", failing), func(t *testing.T) {
			r := newRig(t, 4, 2)
			r.opts.plainIndex = failing
			e := r.open()
			b := bucketOf(t, e, "bucket")
			ctx := t.Context()
			rounds, racers := 500, 32
			switch {
			case *long:
				rounds = 10_000
			case raceEnabled:
				rounds = 60
			}
			infos, errs := make([]*ObjectInfo, racers), make([]error, racers)
			for round := range rounds {
				if failing && round == rounds/3 {
					r.faults[2].Add(faultdisk.Rule{Ops: faultdisk.OpSync, Nth: 3, Sticky: true, Err: faultdisk.ErrInjected})
				}
				if failing && round == 2*rounds/3 {
					r.faults[4].Lose()
				}
				start := make(chan struct{})
				var wg sync.WaitGroup
				for w := range racers {
					wg.Go(func() {
						<-start
						infos[w], errs[w] = race(ctx, b, "key", w)
					})
				}
				close(start)
				wg.Wait()
				winner := -1
				for w, err := range errs {
					if err == nil {
						require.Equal(t, -1, winner, "two winners in round %d", round)
						winner = w
						continue
					}
					requireError(t, err, ErrPrecondition, "put", "bucket", "key")
					require.NotErrorIs(t, err, ErrNotFound)
				}
				require.GreaterOrEqual(t, winner, 0, "no winner in round %d", round)
				now, err := b.Head(ctx, "key", nil)
				require.NoError(t, err)
				require.Equal(t, infos[winner].VersionID, now.VersionID)
				require.Equal(t, strconv.Itoa(winner), now.Metadata["racer"])
				if round%3 > 0 {
					res, err := b.Delete(ctx, "key", &DeleteOptions{If: &Conditions{IfVersion: now.VersionID}})
					require.NoError(t, err)
					require.Equal(t, now.VersionID, res.VersionID)
					continue
				}
				// Here too, one of many deletes is the one.
				var deleted atomic.Int64
				for range 4 {
					wg.Go(func() {
						_, err := b.Delete(ctx, "key", &DeleteOptions{If: &Conditions{IfMatch: "*"}})
						if err == nil {
							deleted.Add(1)
						} else if !errors.Is(err, ErrPrecondition) || !errors.Is(err, ErrNotFound) {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				require.EqualValues(t, 1, deleted.Load())
			}
			idle(t, e)
			if failing {
				require.EqualValues(t, 2, e.Metrics().DisksFailed)
			}
			t.Logf("%d rounds, %d groups", rounds, e.Metrics().Groups)
		})
	}
}

// TestSwapLosesNothing has many goroutines count in a few keys, each time with
// the condition that nobody else has counted meanwhile, by version or by ETag,
// while disks fail: the count is how often they were told that they did.
func TestSwapLosesNothing(t *testing.T) {
	for _, failing := range []bool{false, true} {
		t.Run(fmt.Sprint("failing=", failing), func(t *testing.T) {
			r := newRig(t, 4, 2)
			r.opts.plainIndex = !failing
			r.opts.LogSegmentSize = 256 << 10 // it rolls
			e := r.open()
			b := bucketOf(t, e, "bucket")
			ctx := t.Context()
			const keys = 3
			n := 150
			switch {
			case *long:
				n = 20_000
			case raceEnabled:
				n = 30
			}
			key := func(i int) string { return fmt.Sprint("count/", i) }
			for i := range keys {
				must(b.PutBytes(ctx, key(i), []byte("0"), nil))
			}
			var counted [keys]atomic.Int64
			var refused atomic.Int64
			// count adds one, if nobody else did meanwhile.
			count := func(w, i int) error {
				o, err := b.Get(ctx, key(i), nil)
				if err != nil {
					return err
				}
				defer o.Close()
				p, err := io.ReadAll(o)
				if err != nil {
					return err
				}
				at, err := strconv.ParseInt(string(p), 10, 64)
				if err != nil {
					return err
				}
				c := &Conditions{IfVersion: o.Info().VersionID}
				if w%2 == 0 {
					c = &Conditions{IfMatch: o.Info().ETag} // a hash of a number that never returns
				}
				next, opts := strconv.AppendInt(nil, at+1, 10), &PutOptions{If: c}
				if w%3 == 0 {
					var pending *Pending
					if pending, err = b.PutAsync(ctx, key(i), next, opts); err == nil {
						_, err = pending.Wait(ctx)
					}
				} else {
					_, err = b.PutBytes(ctx, key(i), next, opts)
				}
				if errors.Is(err, ErrPrecondition) {
					refused.Add(1)
					return nil
				}
				if err == nil {
					counted[i].Add(1)
				}
				return err
			}
			var wg sync.WaitGroup
			errs := make([]error, 16)
			for w := range errs {
				wg.Go(func() {
					for i := range n {
						if failing && w == 0 && i == n/3 {
							r.faults[1].Add(faultdisk.Rule{Ops: faultdisk.OpWrite, Err: faultdisk.ErrInjected, Torn: 1000})
						}
						if failing && w == 1 && i == n/2 {
							r.faults[3].Lose()
						}
						if errs[w] = count(w, (w+i)%keys); errs[w] != nil {
							return
						}
					}
				})
			}
			within(t, 10*time.Minute, "counting", wg.Wait)
			require.NoError(t, errors.Join(errs...))
			t.Logf("%d counted, %d refused", counted[0].Load()+counted[1].Load()+counted[2].Load(), refused.Load())
			require.Positive(t, refused.Load())
			for range 2 {
				for i := range keys {
					p, err := read(b, key(i))
					require.NoError(t, err)
					require.Equal(t, strconv.FormatInt(counted[i].Load(), 10), string(p))
				}
				idle(t, e)
				_ = e.Close() // may report the disks
				e = r.open()
				b = e.Bucket("bucket")
			}
		})
	}
}
