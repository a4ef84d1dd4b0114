package roottest

import (
	"path/filepath"
	"testing"
)

// TestDrawn: the reference of drawings draws, adds to what is there, and is equal to itself.
func TestDrawn(t *testing.T) {
	r, dir := Find(t), t.TempDir()
	files := r.MakeUneven(t, dir)
	drawings := []Drawing{
		{"Muon_pt[0]>>h1(100,0,200)", "nMuon>1"}, {"Muon_eta:Muon_pt>>h2", ""}, {">>list", "nMuon>2"},
		{"Muon_phi>>+h1", ""},
	}
	a, b := filepath.Join(dir, "a.root"), filepath.Join(dir, "b.root")
	r.Draw(t, "Events", files, "", drawings, a)
	r.Draw(t, "Events", files, "", drawings, b)
	r.Compare(t, a, b)
	r.Draw(t, "Events", files, "", drawings[:3], b)
	if d, err := r.Differences(t, a, b); err != nil || d == "" {
		t.Errorf("what was added makes no difference: %q, %v", d, err)
	}
}
