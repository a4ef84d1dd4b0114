package jobs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
)

// TestLongStatusSaysWhatItLacks: the status of a job that has written very many files, canvases and notes goes into the
// ledger with the first of them, and says how many there were.
func TestLongStatusSaysWhatItLacks(t *testing.T) {
	long := strings.Repeat("x", 300)
	st := api.JobStatus{ID: "job", State: api.Done}
	for i := range 3000 {
		name := fmt.Sprint(i, long)
		st.OutputFiles = append(st.OutputFiles, api.OutputFile{Name: name})
		st.Canvases, st.Unsaved, st.Notes = append(st.Canvases, name), append(st.Unsaved, name), append(st.Notes, name)
	}
	all := slices.Clone(st.Notes)
	b := packStatus(st)
	var got api.JobStatus
	if err := json.Unmarshal(b, &got); err != nil || len(b) > ledger.MaxStatus {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	notes := strings.Join(got.Notes, "\n")
	for _, says := range []string{
		"of 3000 files beside the output 50 are named", "of 3000 canvases that were saved 50", "2950 notes more",
		"of 3000 canvases that could not be saved 50",
	} {
		if !strings.Contains(notes, says) {
			t.Errorf("the notes do not say %q", says)
		}
	}
	if len(got.OutputFiles) != 50 || got.OutputFiles[49].Name != st.OutputFiles[49].Name || !slices.Equal(st.Notes, all) {
		t.Errorf("%d files are named, and the status itself may have changed", len(got.OutputFiles))
	}
	short := api.JobStatus{ID: "job", Notes: []string{"one"}, Canvases: []string{"c.pdf"}}
	if err := json.Unmarshal(packStatus(short), &got); err != nil || len(got.Notes) != 1 || len(got.Canvases) != 1 {
		t.Errorf("a short one: %+v, %v", got, err)
	}
}
