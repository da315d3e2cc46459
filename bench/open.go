package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// openRow is how long it takes to open a store.
type openRow struct {
	Name    string
	Objects int
	Rounds  []openTimes
}

type openTimes struct {
	Wall, CPU time.Duration
	Replayed  int64 // records
}

// opens measures Open after a clean close, after the process was killed, and
// with the index gone.
func (s *suite) opens() (err error) {
	st, err := newStore(s.ctx, s.Places, shards, s.store)
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, st.destroy()) }()
	if _, err := s.fill(st, keys("open", s.open)); err != nil {
		return err
	}
	clean := openRow{Name: "after a clean close", Objects: s.open}
	killed := openRow{Name: fmt.Sprintf("after a kill, %s puts after the last close", grouped(int64(s.crash))), Objects: s.open + s.crash}
	lost := openRow{Name: "with the index lost", Objects: s.open + s.crash}
	for n := range s.Rounds {
		if err := s.round("open", n); err != nil {
			return err
		}
		o, err := s.reopen(st)
		if err != nil {
			return err
		}
		clean.Rounds = append(clean.Rounds, *o)
		if err := st.close(); err != nil {
			return err
		}
		if err := s.crashIn(st, n); err != nil {
			return err
		}
		if o, err = s.reopen(st); err != nil {
			return err
		}
		killed.Rounds = append(killed.Rounds, *o)
		if err := errors.Join(st.close(), os.RemoveAll(st.index)); err != nil {
			return err
		}
		if o, err = s.reopen(st); err != nil {
			return err
		}
		lost.Rounds = append(lost.Rounds, *o)
	}
	s.report.Opens = append(s.report.Opens, clean, killed, lost)
	return nil
}

// child starts this program to do what args say, beside the caller. Closing
// stdin tells it to end.
func (s *suite) child(args ...string) (*exec.Cmd, io.WriteCloser, io.ReadCloser, error) {
	cmd := exec.CommandContext(s.ctx, s.Self[0], append(s.Self[1:], args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	return cmd, in, out, cmd.Start()
}

// crashIn has another process put objects into the closed store and kills it.
func (s *suite) crashIn(st *store, round int) error {
	cmd, in, out, err := s.child(append([]string{"crash", strconv.Itoa(s.crash), strconv.Itoa(round)}, st.roots...)...)
	if err != nil {
		return err
	}
	defer in.Close()
	var said [len(ready)]byte
	_, err = io.ReadFull(out, said[:])
	if err == nil && string(said[:]) != ready {
		err = fmt.Errorf("child said %q", said)
	}
	killed := cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	return errors.Join(err, killed)
}

// ready is what a child prints when it may be killed.
const ready = "ready\n"

// Child is what [Config.Self] must call, with the arguments that follow, and
// then exit.
func Child(args []string) error {
	if len(args) == 0 {
		return errors.New("child of what?")
	}
	switch args[0] {
	case "crash":
		return childCrash(args[1:])
	case "memory":
		return childMemory(args[1:])
	}
	return fmt.Errorf("no child for %s", strings.Join(args, " "))
}
