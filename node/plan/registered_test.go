package plan

import (
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
)

// TestDatasetsThatChanged: the user is told which datasets are no more what was registered, and whose one is that has
// been named without its owner. Of what is as it was, or cannot be compared, nothing is said.
func TestDatasetsThatChanged(t *testing.T) {
	now := exec.Plan{Entries: 10, UUID: "u"}
	for name, c := range map[string]struct {
		asked  string
		was    api.DatasetFile
		copies bool
		want   string
	}{
		"as it was":         {"", api.DatasetFile{Part: "T", Entries: 10, UUID: "u"}, false, ""},
		"of another member": {"d", api.DatasetFile{Part: "T", Entries: 10, UUID: "u"}, false, "the dataset d is a/d"},
		"other entries":     {"", api.DatasetFile{Part: "T", Entries: 9, UUID: "u"}, false, "10 entries, and had 9"},
		"written anew":      {"", api.DatasetFile{Part: "T", Entries: 10, UUID: "v"}, false, "its UUID is u, and was v"},
		"a copy":            {"", api.DatasetFile{Part: "T", Entries: 10, UUID: "v"}, true, ""},
		"without a UUID":    {"", api.DatasetFile{Part: "T", Entries: 10}, false, ""},
		"another tree":      {"", api.DatasetFile{Part: "U", Entries: 9, UUID: "u"}, false, ""},
		"both others":       {"", api.DatasetFile{Part: "U", Entries: 9, UUID: "v"}, false, "files of the dataset a/d"},
	} {
		c.was.URL = "/x/f.root"
		req := api.JobRequest{
			AllowCopies: c.copies, Files: []api.InputFile{{URL: c.was.URL, Part: "T"}, {URL: "/x/plain.root", Part: "T"}},
			Datasets: []api.UsedDataset{{Name: "a/d", Asked: c.asked, Files: []api.DatasetFile{c.was}}},
		}
		notes := datasetNotes(req, []exec.Plan{now, now}, make([]*exec.Failure, 2))
		if got := strings.Join(notes, "\n"); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if notes := datasetNotes(req, []exec.Plan{now, now}, []*exec.Failure{{}, nil}); c.asked == "" && len(notes) > 0 {
			t.Errorf("%s: of a file that cannot be read: %q", name, notes)
		}
	}
}
