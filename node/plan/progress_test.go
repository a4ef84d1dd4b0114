package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

func TestPlanningNamesWhatItWaitsFor(t *testing.T) {
	p, start := newProgress(3, 30*time.Second), time.Now()
	for _, f := range []string{"root://far//a.root", "/data/b.root"} {
		if _, ok := p.begin(f, start); !ok {
			t.Fatalf("%s is not to be read", f)
		}
	}
	if got, want := p.text(start.Add(time.Second)), "reading file 1 of 3"; got != want {
		t.Errorf("says %q, want %q", got, want)
	}
	p.end("/data/b.root", nil)
	want := "reading file 2 of 3; waiting 12 s of 30 s for root://far//a.root"
	if got := p.text(start.Add(12 * time.Second)); got != want {
		t.Errorf("says %q, want %q", got, want)
	}
	p.end("root://far//a.root", nil)
	if got := p.text(start.Add(40 * time.Second)); strings.Contains(got, "waiting") {
		t.Errorf("still waits: %q", got)
	}
}

func TestPlanningGivesASilentServerUp(t *testing.T) {
	silent := &exec.Failure{Kind: exec.KindOpen, Host: exec.CauseUnreachable}
	p, now := newProgress(9, time.Second), time.Now()
	try := func(file string, f *exec.Failure) bool {
		_, ok := p.begin(file, now)
		if ok {
			p.end(file, f)
		}
		return ok
	}
	for _, c := range []struct {
		file string
		f    *exec.Failure
		want bool
	}{
		{"root://dead//1", silent, true},
		{"root://dead//2", silent, true},
		{"root://dead//3", silent, false},
		{"root://alive//1", nil, true},
		{"root://alive//2", silent, true},
		{"root://alive//3", silent, true},
		{"root://alive//4", silent, true}, // it has answered once
		{"/data/1", silent, true},
		{"/data/2", silent, true},
	} {
		if got := try(c.file, c.f); got != c.want {
			t.Errorf("%s tried: %v, want %v", c.file, got, c.want)
		}
	}
	f, _ := p.begin("root://dead//4", now)
	if f == nil || !strings.Contains(f.Msg, "root://dead did not answer") {
		t.Errorf("the reason does not name the server: %+v", f)
	}
}
