package main

import (
	"fmt"
	"text/tabwriter"
)

// report prints the table.
func (d *demo) report() {
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(title string, m *measure) {
		n, b, s := m.objects.Load(), m.bytes.Load(), m.took.Seconds()
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%.1f\t%.0f\t%.0f\t\n", title, n, megabytes(b), s, float64(n)/s, float64(b)/1e6/s)
	}
	d.printf("\n")
	_, _ = fmt.Fprintf(w, "\tobjects\tbytes\tseconds\tobjects/s\tMB/s\t\n")
	row("store", &d.stored)
	row("read without 2 disks", &d.read)
	row("sample after reopen", &d.sample)
	_ = w.Flush()

	objects, bytes := d.stored.objects.Load(), d.stored.bytes.Load()
	d.printf("\n")
	d.fact("fdatasyncs per object", "%.2f", float64(d.syncs)/float64(objects))
	d.fact("disk bytes per byte stored", "%.2f (%v by itself is %.2f; small groups of small objects take more)",
		float64(d.used)/float64(bytes), geometry, float64(geometry.Shards())/float64(geometry.Data))
	d.fact("not counted in that", "%s of zeros, written ahead for later objects", megabytes(d.slack))
	d.fact("rebuilt from parity", "%d small objects and stripe rows of large ones", d.rebuilt)
	if d.losses.n == 0 {
		d.fact("lost", "nothing: all %d objects equal their originals, byte for byte", objects)
	} else {
		d.fact("lost", "%d reads were not what was stored", d.losses.n)
	}
	d.fact("read next", "README.md, ARCHITECTURE.md, and the code of this program: examples/quickstart/demo.go")
}

func (d *demo) fact(name, format string, args ...any) {
	d.printf("%-27s "+format+"\n", append([]any{name}, args...)...)
}
