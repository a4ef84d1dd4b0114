package datasets

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// packed is the body of a record that holds text.
func packed(t *testing.T, text string) Signed {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return Signed{Body: b.Bytes()}
}

// TestFewBytesTakeLittleMemory: a record of a few kilobytes may say a million files, each of which would take a hundred
// bytes where it is read. It is refused before.
func TestFewBytesTakeLittleMemory(t *testing.T) {
	text := `{"name":"x","files":[{}` + strings.Repeat(",{}", maxFiles) + `]}`
	s := packed(t, text)
	if len(s.Body) > MaxRecord || len(text) > maxPlain {
		t.Fatalf("%d bytes of %d are refused for another reason", len(s.Body), len(text))
	}
	if _, err := s.Open(); err == nil || !strings.Contains(err.Error(), "parts") {
		t.Errorf("a record of %d files: %v", maxFiles+1, err)
	}
	if _, err := Decode([]byte(`{"body":"", "more":[{},{},{}]}`)); err == nil {
		t.Error("a list is taken for a record")
	}
	var refused *api.Error
	_, err := sign(Record{Files: make([]api.DatasetFile, maxFiles+1)}, nil)
	if !errors.As(err, &refused) || refused.Status != http.StatusUnprocessableEntity || refused.Hint == "" {
		t.Errorf("as many are registered here: %v", err)
	}
}
