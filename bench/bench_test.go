package bench

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompareUsesRatiosOfPairs(t *testing.T) {
	// the machine became ten times slower half way: the medians say little, the pairs' ratios all
	r := compare("x", "s", []float64{1.1, 1.1, 11, 11}, []float64{1, 1, 10, 10}, 1.05)
	r.judge()
	want := &Summary{Median: 1.1, Min: 1.1, Max: 1.1, N: 4}
	if diff := cmp.Diff(want, r.Ratio); diff != "" {
		t.Errorf("ratio (-want +got):\n%s", diff)
	}
	if r.Pass == nil || *r.Pass {
		t.Errorf("ratio %v passes target %v", r.Ratio, r.Target)
	}
}

func TestJudge(t *testing.T) {
	pass, fail := true, false
	for _, c := range []struct {
		name string
		r    Result
		want *bool
	}{
		{"ratio met", compare("", "", []float64{1}, []float64{1}, 1.05), &pass},
		{"figure met", figure("", "", 5, 4, 5, 6), &pass},
		{"figure missed", figure("", "", 5, 4, 6, 6), &fail},
		{"no target", figure("", "", 0, 4), nil},
		{"reference only", compare("", "", nil, []float64{1}, 1.05), nil},
		{"nothing measured", figure("", "", 5), nil},
	} {
		c.r.judge()
		if diff := cmp.Diff(c.want, c.r.Pass); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestReportTableAndJSON(t *testing.T) {
	r := figure("job of 1,000 entries", "ms", 150, 90, 100, 400)
	r.judge()
	report := Report{Pairs: 5, Results: []Result{r, compare("limit", "s", nil, []float64{2, 2}, 1.05)}}
	var out strings.Builder
	report.Table(&out)
	for _, want := range []string{"100.000 (90.000-400.000)", "<= 150", "pass", "2.000 (2.000-2.000)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, out.String())
		}
	}
	path := filepath.Join(t.TempDir(), "report.json")
	if err := report.write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report, back); diff != "" {
		t.Errorf("report read back (-want +got):\n%s", diff)
	}
}

func TestLastStatus(t *testing.T) {
	text := `{"type":"status","status":{"id":"a","state":"running","done":1,"units":2}}
{"type":"log","line":"hello"}
{"type":"status","status":{"id":"a","state":"done","done":2,"units":2}}
`
	st, err := lastStatus([]byte(text))
	if err != nil || st.State != "done" || st.Done != 2 {
		t.Errorf("got %+v, %v", st, err)
	}
	if _, err := lastStatus(nil); err == nil {
		t.Error("no error without a status")
	}
}

func TestDescendantsAndMemory(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids, err := descendants(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, pid := range pids {
		found = found || pid == cmd.Process.Pid
	}
	if !found {
		t.Errorf("child %d is not among the descendants %v", cmd.Process.Pid, pids)
	}
	if one, both := pss([]int{os.Getpid()}), rss(os.Getpid()); one <= 0 || one > both+1 {
		t.Errorf("PSS %.1f MB, RSS %.1f MB of this process", one, both)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestUnknownCase(t *testing.T) {
	err := Run(context.Background(), Config{ROOT: "x", Dir: t.TempDir(), Cases: []string{"steedy"}}, &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "steady") {
		t.Errorf("got %v, want an error that names the cases", err)
	}
}
