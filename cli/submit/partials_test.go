package submit

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestManifestNamesWhatWasSent: a manifest comes from another node, and its names are joined with a folder. Where it
// names a file that was not sent the user's own would be moved to the output.
func TestManifestNamesWhatWasSent(t *testing.T) {
	content := []byte("merged")
	sum := sha256.Sum256(content)
	for _, c := range []struct {
		part  api.Part
		valid bool
	}{
		{api.Part{Name: "merged.root", SHA256: hex.EncodeToString(sum[:])}, true},
		{api.Part{Name: "merged.root"}, false},
		{api.Part{Name: "../kept.root"}, false},
		{api.Part{Name: "../kept.root", SHA256: hex.EncodeToString(sum[:])}, false},
	} {
		manifest, err := json.Marshal(api.Manifest{Parts: []api.Part{c.part}})
		if err != nil {
			t.Fatal(err)
		}
		var sent bytes.Buffer
		w := tar.NewWriter(&sent)
		put(t, w, "merged.root", content)
		put(t, w, ManifestName, manifest)
		if _, err := unpack(&sent, t.TempDir()); (err == nil) != c.valid {
			t.Errorf("part %+v: %v", c.part, err)
		}
	}
}

func put(t *testing.T, w *tar.Writer, name string, text []byte) {
	t.Helper()
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
}
