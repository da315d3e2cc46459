package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/cairnstore/cairn/engine"
)

// childCrash puts objects into a store and waits to be killed. args: count,
// round, the store's roots.
func childCrash(args []string) error {
	if len(args) < 3 {
		return errors.New("crash: too few arguments")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	ctx := context.Background()
	st := storeAt(args[2:], shards, engine.Options{})
	if err := st.open(ctx); err != nil {
		return err
	}
	s := &suite{ctx: ctx}
	if _, err := s.fill(st, keys("crash"+args[1], n)); err != nil {
		return err
	}
	fmt.Print(ready)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// footprint is the memory of a process, in bytes; zero where the system does not
// say.
type footprint struct {
	Opened, Idle, Collected memory
	Heap                    int64 // of Go, in use when all garbage is collected
}

// memory is resident, and the part of it that is no file's, both in bytes.
type memory struct{ RSS, Anon, Peak int64 }

// childMemory opens a store, works with it, waits, and prints a footprint as
// JSON. args: preset, milliseconds of work, milliseconds to wait, roots.
func childMemory(args []string) error {
	if len(args) < 4 {
		return errors.New("memory: too few arguments")
	}
	preset, err := presetOf(args[0])
	if err != nil {
		return err
	}
	workFor, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	wait, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	ctx := context.Background()
	st := storeAt(args[3:], preset.disks, preset.options())
	if err := st.open(ctx); err != nil {
		return err
	}
	pause := func() { <-time.After(time.Duration(wait) * time.Millisecond) }
	var f footprint
	pause()
	f.Opened = residentMemory()
	if err := memoryWork(ctx, st, time.Duration(workFor)*time.Millisecond); err != nil {
		return err
	}
	pause()
	f.Idle = residentMemory()
	// The runtime does so by itself every two idle minutes. Buffers kept in pools
	// go with the second time.
	runtime.GC()
	debug.FreeOSMemory()
	f.Collected = residentMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.Heap = int64(m.HeapInuse)
	if err := st.close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// memoryWork is small puts and gets and large streams, each for a third of the
// time.
func memoryWork(ctx context.Context, st *store, d time.Duration) error {
	piece := noise(1 << 20)
	// Keys are made as they are needed: a list of them would be measured too.
	key := func(i int) string { return "work/" + strconv.Itoa(i) }
	put, err := crew(64, 1<<40, d/3, func(_, i int) error {
		_, err := st.b.PutBytes(ctx, key(i), piece[:4<<10], nil)
		return err
	})
	if err != nil {
		return err
	}
	get := func(key string) error {
		o, err := st.b.Get(ctx, key, nil)
		if err != nil {
			return err
		}
		if _, err := o.WriteTo(&sink{}); err != nil {
			return err
		}
		return o.Close()
	}
	if _, err := crew(8, 1<<62, d/3, func(_, i int) error { return get(key(i % int(max(put, 1)))) }); err != nil {
		return err
	}
	_, err = crew(4, 1<<62, d/3, func(g, _ int) error {
		if _, err := st.b.Put(ctx, key(-g-1), &repeat{p: piece, n: 64 << 20}, nil); err != nil {
			return err
		}
		return get(key(-g - 1))
	})
	return err
}
