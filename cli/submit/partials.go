package submit

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
)

// Partials provides what is committed of a job that has not ended, as a tar; *api.Client does.
type Partials interface {
	Partials(ctx context.Context, id string, w io.Writer) (int64, error)
}

// ManifestName is the name of the file in which FetchPartials writes the api.Manifest.
const ManifestName = "manifest.json"

// FetchPartials writes what is committed of job id to a folder, which it makes: first the files in the manifest, then
// the manifest. Files of these names are replaced, each once it is complete.
func FetchPartials(ctx context.Context, from Partials, id, dir string) (m api.Manifest, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return m, fmt.Errorf("could not make the folder %q: %w", dir, err)
	}
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { // ends when r is closed, at the latest
		_, err := from.Partials(ctx, id, w)
		w.CloseWithError(err)
		ended <- err
	}()
	m, err = unpack(r, dir)
	r.CloseWithError(io.ErrClosedPipe)
	if sent := <-ended; sent != nil && !errors.Is(sent, io.ErrClosedPipe) {
		err = sent
	}
	if err != nil {
		return m, fmt.Errorf("could not fetch what is committed of job %s: %w", id, err)
	}
	return m, nil
}

// unpack extracts a tar of partials into a folder and compares it with its manifest.
func unpack(r io.Reader, dir string) (m api.Manifest, err error) {
	const maxManifest = 256 << 20
	sums := map[string]string{}
	for t := tar.NewReader(r); ; {
		head, err := t.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("it ends without a manifest")
			}
			return m, err
		}
		if head.Typeflag != tar.TypeReg || !filepath.IsLocal(head.Name) || filepath.Base(head.Name) != head.Name {
			return m, fmt.Errorf("%q is no name of a file", head.Name)
		}
		if head.Name == ManifestName {
			text, err := io.ReadAll(io.LimitReader(t, maxManifest))
			if err == nil {
				err = json.Unmarshal(text, &m)
			}
			if err == nil {
				err = matches(m, sums)
			}
			if err == nil {
				_, err = writeWhole(filepath.Join(dir, head.Name), bytes.NewReader(text))
			}
			return m, err
		}
		if sums[head.Name], err = writeWhole(filepath.Join(dir, head.Name), t); err != nil {
			return m, err
		}
	}
}

// matches compares the files that were received with the manifest, which names none but those.
func matches(m api.Manifest, sums map[string]string) error {
	for _, p := range m.Parts {
		if sum, sent := sums[p.Name]; !sent || sum != p.SHA256 {
			return fmt.Errorf("file %q is not what the manifest says", p.Name)
		}
	}
	return nil
}

// writeWhole writes a file, which gets its name only once it is complete, and returns its hash.
func writeWhole(path string, r io.Reader) (sum string, err error) {
	h := sha256.New()
	err = durable.Place(path, func(f *os.File) error {
		if _, err := io.Copy(io.MultiWriter(f, h), r); err != nil {
			return err
		}
		return publish(f)
	})
	return hex.EncodeToString(h.Sum(nil)), err
}
