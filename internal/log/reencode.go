package log

import "github.com/cairnstore/cairn/erasure"

// HeaderFacts is what the header of a group says about its size.
type HeaderFacts struct {
	Parts            int // data blocks and parity
	First, Last      uint64
	Records, Payload int64 // bytes
}

// ReencodeHeader reads the group header at the beginning of page, which lies at
// offset at of a shard file, and returns it as this package would write it. An
// error is ErrGroup for a page that holds no header of that place, zeros
// included, or a *FormatError. It keeps nothing of page. For those who check the
// format from outside: the log itself does not need it.
func ReencodeHeader(page []byte, pool erasure.PoolID, segment erasure.SegmentID, shard int, at int64) ([]byte, HeaderFacts, error) {
	key := erasure.NewKey(pool, segment, shard)
	h, err := decodeHeader(page, key, pool, segment, shard, at)
	if err == errBlank {
		err = ErrGroup
	}
	if err != nil {
		return nil, HeaderFacts{}, err
	}
	facts := HeaderFacts{Parts: len(h.parts), First: h.first, Last: h.last, Records: h.records, Payload: h.payload}
	for i := range h.parts {
		if h.parts[i].shard == shard && h.parts[i].start == at {
			return h.encode(nil, i, key), facts, nil
		}
	}
	panic("log: a header was accepted in a place that it does not list")
}

// ReencodeOpening reads the body of an opening group and returns it as this
// package would write it, and the number of group copies in it. Bytes behind the
// last copy, left for compatible additions, are not in it. An error is ErrGroup
// or a *FormatError. Like ReencodeHeader it is for checks from outside.
func ReencodeOpening(body []byte) ([]byte, int, error) {
	o, err := decodeOpening(body)
	if err != nil {
		return nil, 0, err
	}
	return o.append(nil), len(o.copies), nil
}
