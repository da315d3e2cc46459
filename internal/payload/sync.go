package payload

// round is one sync of all shards, shared by those who wait for it.
type round struct {
	done chan struct{}
	err  error
}

// sync makes durable all that was written to the segment before the call. Those
// who arrive while a sync runs share the next one.
func (g *open) sync() error {
	g.mu.Lock()
	r := g.round
	if r == nil {
		r = &round{done: make(chan struct{})}
		g.round = r
	}
	lead := !g.syncing
	g.syncing = true
	g.mu.Unlock()
	if lead {
		g.runRound()
	}
	<-r.done
	return r.err
}

// runRound runs the next round in the goroutine of whoever asked for it, and
// hands the one after that, if anybody waits for it, to a goroutine.
func (g *open) runRound() {
	g.mu.Lock()
	r := g.round
	g.round = nil
	err := g.failed
	g.mu.Unlock()
	if err == nil {
		err = g.syncShards()
	}
	r.err = err
	close(r.done)
	g.mu.Lock()
	more := g.round != nil
	g.syncing = more
	g.mu.Unlock()
	if more {
		g.s.wg.Go(g.runRound) // the waiters hold wg above zero
	}
}

// syncShards begins the syncs of all shards before it waits for the first.
func (g *open) syncShards() error {
	waits := make([]func() (bool, error), len(g.shards))
	for i, f := range g.shards {
		waits[i] = f.startSync()
	}
	errs := make([]error, len(waits))
	for i, wait := range waits {
		var synced bool
		if synced, errs[i] = wait(); synced {
			g.s.metrics.syncs.Add(1)
		}
	}
	return g.failAll(errs)
}
