package engine

import (
	"context"
	"errors"

	"github.com/cairnstore/cairn/meta"
)

// BucketSettings are what a bucket carries beside its objects.
type BucketSettings struct {
	// Tags are the bucket's, at most 50, each within the limits of object tags
	// (ErrTags).
	Tags map[string]string
	// Documents are kept for whoever is above the engine, such as policies and
	// rules in their own form: at most 64, of 1 MiB in all (ErrSettings).
	Documents map[string][]byte
}

// Settings returns the bucket's settings, a copy.
func (b *Bucket) Settings(ctx context.Context) (*BucketSettings, error) {
	bucket, err := b.open(ctx, "bucket settings", "")
	if err != nil {
		return nil, err
	}
	defer b.e.end()
	s, err := decodeSettings(bucket)
	return s, fail("bucket settings", b.name, "", err)
}

// UpdateSettings changes the bucket's settings: change gets them as they are
// and edits them; an error of its own ends the call with nothing changed. When
// somebody else changed them meanwhile, it is called again with theirs, so that
// no change is lost. Durable when it returns nil.
func (b *Bucket) UpdateSettings(ctx context.Context, change func(*BucketSettings) error) error {
	if _, err := b.open(ctx, "update bucket settings", ""); err != nil {
		return err
	}
	defer b.e.end()
	return fail("update bucket settings", b.name, "", b.updateSettings(ctx, change))
}

func (b *Bucket) updateSettings(ctx context.Context, change func(*BucketSettings) error) error {
	for {
		bucket, ok := b.e.state.Bucket(b.name)
		if !ok {
			return ErrNoBucket
		}
		s, err := decodeSettings(bucket)
		if err != nil {
			return err
		}
		if err := change(s); err != nil {
			return err
		}
		block, err := meta.AppendSettings(nil, &meta.Settings{Tags: s.Tags, Documents: s.Documents})
		if err != nil {
			return err
		}
		q := &request{record: meta.Record{Kind: meta.KindSettings, Bucket: bucket.ID, Settings: block}, base: bucket.Revision}
		if err := b.e.submitSlot(ctx, q); !errors.Is(err, errLookAgain) {
			return err
		}
	}
}

func decodeSettings(b meta.Bucket) (*BucketSettings, error) {
	s, err := meta.DecodeSettings(b.Settings)
	if err != nil {
		return nil, err
	}
	return &BucketSettings{Tags: s.Tags, Documents: s.Documents}, nil
}
