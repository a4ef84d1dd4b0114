package jobs

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/runtimes"
)

// TestItemsAreForKindsThatTakeThem: a selector that is given entries of no tree crashes.
func TestItemsAreForKindsThatTakeThem(t *testing.T) {
	s := Runtimes{Set: runtimes.Find(t.Context(), []exec.Finder{fakeexec.Finder{}}, exec.Config{})}
	defer s.Close()
	if err := s.checkItems(fakeexec.Kind); err != nil {
		t.Error(err)
	}
	var e *api.Error
	if err := s.checkItems("ROOT"); !errors.As(err, &e) || e.Status != http.StatusBadRequest {
		t.Errorf("got %v", err)
	}
}

// TestAdviceToWhoLacksARuntime says what a user can do, and who has what the job needs.
func TestAdviceToWhoLacksARuntime(t *testing.T) {
	s := Runtimes{
		Set:       runtimes.Find(t.Context(), []exec.Finder{fakeexec.Finder{}}, exec.Config{}),
		Elsewhere: func(needs []string) string { return "; bob has " + strings.Join(needs, " ") },
	}
	defer s.Close()
	hint := func() string {
		_, err := s.Choose("ROOT", "6.38.00")
		var e *api.Error
		if err = s.Advised(err); !errors.As(err, &e) {
			t.Fatalf("no advice: %v", err)
		}
		return e.Hint
	}
	if got := hint(); !strings.HasPrefix(got, "submit it on a member") ||
		!strings.HasSuffix(got, "; bob has ROOT=6.38.00") {
		t.Errorf("got %q", got)
	}
	s.Other, s.Elsewhere = map[string]string{"ROOT": "name its folder", "test": "no"}, nil
	if got := hint(); got != s.Other["ROOT"] {
		t.Errorf("got %q", got)
	}
}

// TestPartlyAppended says what is there of an append that was too large for one, and how the rest follows.
func TestPartlyAppended(t *testing.T) {
	err := partlyAppended(errors.New("the job is closed"), 2, 5, 13, 12)
	var e *api.Error
	if !errors.As(err, &e) || !strings.Contains(e.Message, "the job is closed; of the 5 appends") ||
		!strings.Contains(e.Message, "up to number 13") || !strings.Contains(e.Hint, "--seq 12") {
		t.Errorf("got %+v", err)
	}
	if err := partlyAppended(err, 2, 5, 13, 0); !errors.As(err, &e) || strings.Contains(e.Hint, "--seq") {
		t.Errorf("got %+v", err)
	}
}
