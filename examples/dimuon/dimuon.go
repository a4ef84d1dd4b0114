// Package dimuon is the demo: a TSelector over NanoAOD-like events in two styles, and the generator of
// the events it runs over. The sources are ordinary ROOT files; Go only carries them and runs ROOT.
package dimuon

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed DiMuon.h DiMuon.C DiMuonOld.h DiMuonOld.C make_events.C
var sources embed.FS

// Tree is the name of the tree in the generated files.
const Tree = "Events"

// WriteSelectors writes DiMuon.C, DiMuonOld.C and their headers into dir, for a user who has only the
// binary. Files that already hold the same bytes are left alone, so that compiled libraries stay valid.
func WriteSelectors(dir string) error {
	for _, name := range []string{"DiMuon.h", "DiMuon.C", "DiMuonOld.h", "DiMuonOld.C"} {
		if err := writeSource(dir, name); err != nil {
			return err
		}
	}
	return nil
}

func writeSource(dir, name string) error {
	text, err := sources.ReadFile(name)
	if err != nil {
		return fmt.Errorf("could not read embedded %q: %w", name, err)
	}
	path := filepath.Join(dir, name)
	if old, err := os.ReadFile(path); err == nil && string(old) == string(text) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("could not create directory %q: %w", dir, err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("could not write %q: %w", path, err)
	}
	return nil
}
