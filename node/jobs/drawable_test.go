package jobs

import (
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestSnapshotsOfLiars: what a home tells of what is watched is drawn on a terminal by those who asked. It is refused
// if drawing it would take more than an honest one does, and its texts are cut.
func TestSnapshotsOfLiars(t *testing.T) {
	honest := func() api.Snapshot {
		return api.Snapshot{Units: 3, Of: 4, Objects: []api.Picture{
			{Name: "h", X: api.Axis{Bins: 2, Max: 1}, Values: []float64{1, 2}},
			{Name: "h2", X: api.Axis{Bins: 2, Max: 1}, Y: api.Axis{Bins: 1, Max: 1}, Values: []float64{1, 2}},
			{Name: "n"},
		}}
	}
	if !drawable(honest()) {
		t.Error("an honest one is refused")
	}
	for what, lie := range map[string]func(s *api.Snapshot){
		"bins that are not there": func(s *api.Snapshot) { s.Objects[0].X.Bins = 1 << 40 },
		"rows without columns":    func(s *api.Snapshot) { s.Objects[2].Y.Bins = 1 << 60 },
		"a product of 2 to the 64": func(s *api.Snapshot) {
			s.Objects[2].X.Bins, s.Objects[2].Y.Bins = 1<<32, 1<<32
		},
		"fewer than none":         func(s *api.Snapshot) { s.Objects[0].X.Bins = -2 },
		"objects without end":     func(s *api.Snapshot) { s.Objects = make([]api.Picture, 1<<20) },
		"more entries than a job": func(s *api.Snapshot) { s.Units = 5 },
		"negative entries":        func(s *api.Snapshot) { s.Units = -1 },
	} {
		s := honest()
		if lie(&s); drawable(s) {
			t.Errorf("%s: it is drawn", what)
		}
	}
	s := honest()
	s.Objects[0].Title, s.Objects[0].Text = strings.Repeat("é", 1<<20), strings.Repeat("x", 1<<20)
	clipPictures(&s)
	if p := s.Objects[0]; len(p.Title) > 2<<10 || len(p.Text) > 2<<10 || !strings.HasPrefix(p.Title, "éé") {
		t.Errorf("texts of %d and %d bytes are shown", len(p.Title), len(p.Text))
	}
	if got := boundedNames(make([]string, 1<<20)); len(got) > 1000 {
		t.Errorf("%d names are shown", len(got))
	}
}
