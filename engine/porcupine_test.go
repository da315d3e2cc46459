package engine

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/cairnstore/cairn/versioning"
)

// crowdKeys is the number of keys of a recorded history.
const crowdKeys = 5

func crowdKey(i int) string { return fmt.Sprintf("key/%d", i) }

// callKind is what a caller did.
type callKind int

const (
	callPut     callKind = iota // made the version that it was told
	callDelete                  // deleted the version that it was told, "" for none
	callRead                    // get or head: saw that version, "" for none
	callList                    // saw one version of each key, as of one moment
	callRefused                 // a put or delete whose condition did not hold
)

// seen is one call as its caller saw it.
type seen struct {
	kind    callKind
	key     int
	version string
	listed  [crowdKeys]string
	// A condition of a put, delete or refusal: the current version is
	// expected, "" for none.
	conditional bool
	expected    string
	rank        int // of a put among the puts, by version id; set by inOrder
}

func (s seen) String() string {
	v := s.version
	if v == "" {
		v = "nothing"
	}
	if s.conditional {
		v += fmt.Sprintf(", if %q was there", s.expected)
	}
	switch s.kind {
	case callRefused:
		return fmt.Sprintf("refused on %s%s", crowdKey(s.key), v)
	case callPut:
		return fmt.Sprintf("put %s: made %s", crowdKey(s.key), v)
	case callDelete:
		return fmt.Sprintf("delete %s: deleted %s", crowdKey(s.key), v)
	case callRead:
		return fmt.Sprintf("read %s: saw %s", crowdKey(s.key), v)
	default:
		return fmt.Sprintf("list: saw %q", s.listed)
	}
}

// storeState is what a store of few keys holds: the current version of each,
// and how many puts there have been.
type storeState struct {
	keys [crowdKeys]string
	puts int
}

// after returns the state after s, and whether s can have seen what it saw in
// st. Puts must happen in the order of their version ids, over all keys: that is
// more than linearizable per key, and keeps the search for an order short.
func (st storeState) after(s seen) (storeState, bool) {
	if holds := st.keys[s.key] == s.expected; s.conditional && holds != (s.kind != callRefused) {
		return st, false
	}
	switch s.kind {
	case callRefused:
		return st, true
	case callPut:
		ok := s.rank == st.puts
		st.keys[s.key] = s.version
		st.puts++
		return st, ok
	case callDelete:
		ok := st.keys[s.key] == s.version
		st.keys[s.key] = ""
		return st, ok
	case callRead:
		return st, st.keys[s.key] == s.version
	default:
		return st, st.keys == s.listed
	}
}

// sequence returns that of the version that a put made, else 0.
func (s seen) sequence() uint64 {
	if s.kind != callPut {
		return 0
	}
	id, err := versioning.ParseID(s.version)
	if err != nil {
		panic(err)
	}
	return id.Sequence
}

var storeModel = porcupine.Model{
	Init: func() any { return storeState{} },
	Step: func(state, _, output any) (bool, any) {
		next, ok := state.(storeState).after(output.(seen))
		return ok, next
	},
	DescribeOperation: func(_, output any) string { return output.(seen).String() },
}

// recorder keeps the calls of many goroutines. Times are drawn from one
// counter: what ended before something else began has the smaller number.
type recorder struct {
	clock atomic.Int64
	mu    sync.Mutex
	calls []porcupine.Operation
}

// call runs fn and records what it saw, unless it failed.
func (r *recorder) call(client int, fn func() (seen, error)) (seen, error) {
	start := r.clock.Add(1)
	s, err := fn()
	end := r.clock.Add(1)
	if err != nil {
		return s, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, porcupine.Operation{ClientId: client, Call: start, Output: s, Return: end})
	return s, nil
}

// check returns an error unless the calls on each key have an order that agrees
// with time and in which each saw what the one before it left. A list is a read
// of every key.
func (r *recorder) check() error {
	for key := range crowdKeys {
		var calls []porcupine.Operation
		for _, c := range r.calls {
			s := c.Output.(seen)
			if s.kind == callList {
				s = seen{kind: callRead, key: key, version: s.listed[key]}
			}
			if s.key == key {
				c.Output = s
				calls = append(calls, c)
			}
		}
		if err := inOrder(calls); err != nil {
			return fmt.Errorf("%s: %w", crowdKey(key), err)
		}
	}
	return nil
}

// checkWhole is check with one order for all keys: a list saw them as of one
// moment. Its cost grows fast with the number of clients: for few of them.
func (r *recorder) checkWhole() error {
	return errors.Join(r.check(), inOrder(slices.Clone(r.calls)))
}

// inOrder looks for an order of calls, which it may change.
func inOrder(calls []porcupine.Operation) error {
	slices.SortFunc(calls, func(a, b porcupine.Operation) int {
		return cmp.Compare(a.Output.(seen).sequence(), b.Output.(seen).sequence())
	})
	puts := 0
	for i := range calls {
		if s := calls[i].Output.(seen); s.kind == callPut {
			s.rank = puts
			calls[i].Output = s
			puts++
		}
	}
	if porcupine.CheckOperations(storeModel, calls) {
		return nil
	}
	// Again, for how far it got: that costs much more. Of the calls that the
	// longest order leaves out, the first to end is where to look.
	_, info := porcupine.CheckOperationsVerbose(storeModel, calls, time.Minute)
	var longest []int
	for _, orders := range info.PartialLinearizations() {
		for _, o := range orders {
			if len(o) > len(longest) {
				longest = o
			}
		}
	}
	stuck, at := "", int64(math.MaxInt64)
	for i, c := range calls {
		if c.Return < at && !slices.Contains(longest, i) {
			stuck, at = fmt.Sprint(c.Output), c.Return
		}
	}
	return fmt.Errorf("no order of the %d calls agrees with them; the longest has %d, without: %s", len(calls), len(longest), stuck)
}

// TestRecorderTellsRightFromWrong gives it small histories.
func TestRecorderTellsRightFromWrong(t *testing.T) {
	v := func(seq uint64) string { return versioning.ID{Epoch: 1, Sequence: seq}.String() }
	type timed struct {
		seen
		start, end int64
	}
	put := func(seq uint64, start, end int64) timed {
		return timed{seen{kind: callPut, version: v(seq)}, start, end}
	}
	get := func(seq uint64, start, end int64) timed {
		return timed{seen{kind: callRead, version: v(seq)}, start, end}
	}
	miss := func(start, end int64) timed { return timed{seen{kind: callRead}, start, end} }
	del := func(seq uint64, start, end int64) timed {
		return timed{seen{kind: callDelete, version: v(seq)}, start, end}
	}
	when := func(c timed, seq uint64) timed {
		if c.conditional = true; seq > 0 {
			c.expected = v(seq)
		}
		return c
	}
	refused := func(seq uint64, start, end int64) timed {
		return when(timed{seen{kind: callRefused}, start, end}, seq)
	}
	other := func(c timed) timed { c.key = 1; return c }
	list := func(start, end int64, seqs ...uint64) timed {
		s := seen{kind: callList}
		for i, seq := range seqs {
			if seq > 0 {
				s.listed[i] = v(seq)
			}
		}
		return timed{s, start, end}
	}
	for _, c := range []struct {
		good, whole bool // per key, and over all keys
		calls       []timed
	}{
		{true, true, []timed{put(1, 1, 2), get(1, 3, 4), put(2, 5, 6), get(2, 7, 8)}},
		{true, true, []timed{put(1, 1, 10), get(1, 2, 3), put(2, 4, 9), get(2, 5, 6)}},
		{true, true, []timed{miss(1, 4), put(1, 2, 3)}},
		{true, true, []timed{put(1, 1, 2), del(1, 3, 6), miss(4, 5), put(2, 7, 8)}},
		{true, true, []timed{put(1, 1, 8), other(put(2, 2, 7)), list(3, 4, 1), list(5, 6, 1, 2)}},
		{true, true, []timed{when(put(1, 1, 4), 0), refused(0, 2, 5), when(put(2, 6, 7), 1), refused(1, 8, 9), when(del(2, 10, 11), 2)}},
		{false, false, []timed{when(put(1, 1, 4), 0), when(put(2, 2, 5), 0)}},
		{false, false, []timed{put(1, 1, 2), when(put(2, 3, 4), 0)}},
		{false, false, []timed{put(1, 1, 2), refused(1, 3, 4)}},
		{false, false, []timed{refused(0, 1, 2), put(1, 3, 4)}},
		{false, false, []timed{put(1, 1, 2), put(2, 3, 4), get(1, 5, 6)}},
		{false, false, []timed{put(1, 1, 2), miss(3, 4)}},
		{false, false, []timed{put(2, 1, 2), put(1, 3, 4)}},
		{true, false, []timed{put(2, 1, 2), other(put(1, 3, 4))}},
		{false, false, []timed{put(1, 1, 2), get(2, 3, 4), put(2, 5, 6)}},
		{false, false, []timed{put(1, 1, 10), put(2, 2, 10), get(2, 3, 4), get(1, 5, 6)}},
		{false, false, []timed{put(1, 1, 2), del(1, 3, 4), get(1, 5, 6)}},
		{false, false, []timed{put(1, 1, 2), del(1, 3, 4), del(1, 5, 6)}},
		{false, false, []timed{put(1, 1, 2), del(3, 3, 4)}},
		{false, false, []timed{put(1, 1, 2), other(put(2, 3, 4)), list(5, 6, 0, 2)}},
		{false, false, []timed{put(1, 1, 8), other(put(2, 2, 7)), list(3, 4, 1), list(5, 6, 0, 2)}},
		{true, false, []timed{put(1, 1, 8), other(put(2, 2, 7)), list(3, 5, 1), list(4, 6, 0, 2)}},
	} {
		var r recorder
		for i, s := range c.calls {
			r.calls = append(r.calls, porcupine.Operation{ClientId: i, Call: s.start, Output: s.seen, Return: s.end})
		}
		err := r.check()
		require.Equal(t, c.good, err == nil, "%v: %v", c.calls, err)
		err = r.checkWhole()
		require.Equal(t, c.whole, err == nil, "%v: %v", c.calls, err)
	}
}
