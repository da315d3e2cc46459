package meta

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSettings(t *testing.T) {
	s := &Settings{
		Tags:      map[string]string{"team": "vision", "": ""},
		Documents: map[string][]byte{"policy": []byte("{}"), "rules": {0, 1, 255}},
	}
	_, err := AppendSettings(nil, s)
	require.ErrorIs(t, err, ErrTags)
	delete(s.Tags, "")
	b, err := AppendSettings([]byte("x"), s)
	require.NoError(t, err)
	got, err := DecodeSettings(b[1:])
	require.NoError(t, err)
	require.Equal(t, s, got)
	for n := 1; n < len(b)-1; n++ {
		_, err := DecodeSettings(b[1 : 1+n])
		require.Error(t, err, "cut to %d bytes", n)
	}
	b[1] = settingsVersion + 1
	_, err = DecodeSettings(b[1:])
	require.ErrorIs(t, err, ErrFormat)

	empty, err := DecodeSettings(nil)
	require.NoError(t, err)
	require.Empty(t, empty.Tags)
	require.Empty(t, empty.Documents)
}

func TestSettingsGolden(t *testing.T) {
	var lines []string
	for name, s := range map[string]*Settings{
		"all":  {Tags: map[string]string{"team": "vision", "a": ""}, Documents: map[string][]byte{"rules": {0, 1, 255}, "empty": nil}},
		"none": {Tags: map[string]string{}, Documents: map[string][]byte{}},
	} {
		b, err := AppendSettings(nil, s)
		require.NoError(t, err)
		lines = append(lines, hexLine(name, b))
		back, err := DecodeSettings(b)
		require.NoError(t, err)
		require.Equal(t, s, back)
	}
	slices.Sort(lines)
	golden(t, "settings.golden", lines)
}

func TestSettingsLimits(t *testing.T) {
	docs := map[string][]byte{"a": make([]byte, MaxSettings)}
	_, err := AppendSettings(nil, &Settings{Documents: docs})
	require.ErrorIs(t, err, ErrSettings)
	docs = map[string][]byte{}
	for i := range MaxDocuments + 1 {
		docs[fmt.Sprint(i)] = nil
	}
	_, err = AppendSettings(nil, &Settings{Documents: docs})
	require.ErrorIs(t, err, ErrSettings)
	delete(docs, "0")
	b, err := AppendSettings(nil, &Settings{Documents: docs})
	require.NoError(t, err)
	got, err := DecodeSettings(b)
	require.NoError(t, err)
	require.Len(t, got.Documents, MaxDocuments)
	_, err = AppendSettings(nil, &Settings{Documents: map[string][]byte{"": nil}})
	require.ErrorIs(t, err, ErrSettings)
	tags := map[string]string{}
	for i := range MaxBucketTags + 1 {
		tags[fmt.Sprint(i)] = ""
	}
	_, err = AppendSettings(nil, &Settings{Tags: tags})
	require.ErrorIs(t, err, ErrTags)
}
