package disk

// SyncStarter is a File that can begin a sync without waiting for it.
type SyncStarter interface {
	// StartSync begins what Sync does and returns at once. wait, which must be
	// called once, returns its outcome. After an error neither may be called
	// again, as with Sync.
	StartSync() (wait func() error)
}

// StartSync begins a sync of f: by [SyncStarter] if f is one, else on a
// goroutine. Whoever syncs several files begins all of them before waiting for
// the first.
//
// A goroutine in fdatasync keeps a processor of the Go scheduler until the
// runtime notices, some 100 us later: on two processors, six syncs begun on six
// goroutines begin one pair after the other.
func StartSync(f File) (wait func() error) {
	if s, ok := f.(SyncStarter); ok {
		return s.StartSync()
	}
	done := make(chan error, 1)
	go func() { done <- f.Sync() }()
	return func() error { return <-done }
}

// WriteEnder is a File that keeps something only for writing, such as a second
// descriptor.
type WriteEnder interface {
	// EndWrites gives that up: the file will only be read until it is closed.
	EndWrites()
}
