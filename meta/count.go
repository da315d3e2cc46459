package meta

import "errors"

// CountPrefix returns how many keys of a bucket begin with prefix, as the index
// is now. Beyond limit it stops counting: more than limit keys are limit+1. It
// visits each key that it counts once.
func CountPrefix(r Reader, bucket uint64, prefix string, limit int64) (n int64, err error) {
	q := ListQuery{Bucket: bucket, Prefix: prefix}
	it, err := r.NewIter(q.bounds())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for n <= limit && it.Next() {
		n++
	}
	return n, it.Error()
}
