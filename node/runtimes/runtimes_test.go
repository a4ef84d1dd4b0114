package runtimes_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/runtimes"
)

// listed finds runtimes of ROOT that are opened as the test says.
type listed struct {
	infos []exec.Info
	flaw  error
	open  func(exec.Info) (exec.Runtime, error)
}

func (listed) Kind() string { return "ROOT" }

func (l listed) Find(context.Context) ([]exec.Info, error) {
	if len(l.infos) == 0 {
		return nil, exec.ErrNone
	}
	return l.infos, l.flaw
}

func (l listed) Open(_ context.Context, info exec.Info, _ exec.Config) (exec.Runtime, error) {
	return l.open(info)
}

func (listed) Suffix() string                                         { return ".listed" }
func (listed) Counted(string) (units int64, canary uint64, err error) { return 7, 9, nil }

// absent is a kind of which the user has named a runtime that is not there.
type absent struct{ listed }

func (absent) Kind() string  { return "none" }
func (absent) IsNamed() bool { return true }

// runtime counts what it is asked for.
type runtime struct {
	exec.Runtime
	forgot, closed int
}

func (r *runtime) Forget(string) error { r.forgot++; return nil }

func (*runtime) Complaint(string) bool { return false }
func (r *runtime) Close() error        { r.closed++; return nil }

var both = []exec.Info{{Kind: "ROOT", Version: "6.40.00"}, {Kind: "ROOT", Version: "6.38.00"}}

// TestChoose has jobs led and done with the runtime that they need, and told what is missing else.
func TestChoose(t *testing.T) {
	s := runtimes.Find(t.Context(), []exec.Finder{listed{infos: both}, fakeexec.Finder{}, absent{}}, exec.Config{})
	defer s.Close()
	if s.Flaws() == nil || !slices.Equal(s.Unfound(), []string{"none"}) {
		t.Error("what the user has named, and is not there, is told of nowhere")
	}
	for _, tc := range []struct{ kind, version, want string }{
		{"", "", "ROOT 6.40.00"}, {"ROOT", "", "ROOT 6.40.00"}, {"ROOT", "6.38.00", "ROOT 6.38.00"}, {"test", "", "test 1"},
		{"ROOT", "6.36.00", "the job needs ROOT 6.36.00, this node has ROOT 6.40.00, ROOT 6.38.00, test 1"},
		{"none", "", "the job needs none, this node has ROOT 6.40.00, ROOT 6.38.00, test 1: no runtime of this kind"},
		{"Python", "", "the job needs Python, this node has ROOT 6.40.00, ROOT 6.38.00, test 1"},
	} {
		h, err := s.Choose(tc.kind, tc.version)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = h.Info.String()
		}
		if got != tc.want {
			t.Errorf("%q %q: got %q, want %q", tc.kind, tc.version, got, tc.want)
		}
	}
	h, err := s.For("ROOT", both[1].Needs())
	if err != nil || h.Info.Version != "6.38.00" {
		t.Errorf("a job that needs %v is done with %+v: %v", both[1].Needs(), h, err)
	}
	var needs *exec.NeedsError
	if _, err := s.For("test", both[1].Needs()); !errors.As(err, &needs) {
		t.Errorf("a job of another kind: %v", err)
	}
}

// TestOpenedWhenNeeded opens each runtime once, when it is first asked for, closes those alone, and opens none
// afterwards.
func TestOpenedWhenNeeded(t *testing.T) {
	made := map[string]*runtime{}
	s := runtimes.Find(t.Context(), []exec.Finder{listed{infos: both, open: func(info exec.Info) (exec.Runtime, error) {
		if made[info.Version] != nil {
			t.Errorf("%v is opened twice", info)
		}
		made[info.Version] = &runtime{}
		return made[info.Version], nil
	}}}, exec.Config{})
	for range 2 {
		if _, err := s.First().Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Forget(t.Context(), "x"); err != nil || len(made) != 1 || made["6.40.00"].forgot != 1 {
		t.Errorf("opened %v, error %v", made, err)
	}
	if err := s.Close(); err != nil || made["6.40.00"].closed != 1 {
		t.Errorf("closed %+v, error %v", made["6.40.00"], err)
	}
	h, err := s.Choose("ROOT", "6.38.00")
	if err == nil {
		_, err = h.Ready(t.Context())
	}
	if !errors.Is(err, exec.ErrClosed) || len(made) != 1 {
		t.Errorf("opened after the end: %v", err)
	}
}

// TestNoneAndBroken tells a host that has nothing from one whose runtime does not start; both keep partials of ROOT.
func TestNoneAndBroken(t *testing.T) {
	none := runtimes.Find(t.Context(), []exec.Finder{listed{}}, exec.Config{})
	defer none.Close()
	if _, err := none.Choose("ROOT", ""); !errors.Is(err, exec.ErrNone) || none.First() != nil || none.None() == nil {
		t.Errorf("a host with nothing: %v", err)
	}
	if units, canary, err := none.Counted("ROOT", "x"); units != 7 || canary != 9 || err != nil {
		t.Errorf("a host with nothing counts %d %d: %v", units, canary, err)
	}
	if got := none.Suffix("ROOT") + none.Suffix("Python"); got != ".listed" {
		t.Errorf("the names of outputs end with %q", got)
	}
	if _, _, err := none.Counted("Python", "x"); err == nil || !strings.Contains(err.Error(), "Python") {
		t.Errorf("a kind that is not known is counted: %v", err)
	}
	broken := runtimes.Find(t.Context(), []exec.Finder{listed{
		infos: both[:1],
		open: func(exec.Info) (exec.Runtime, error) {
			return nil, errors.New("out of order")
		},
	}}, exec.Config{})
	defer broken.Close()
	if err := broken.First().Broken(); err != nil {
		t.Errorf("broken before it is tried: %v", err)
	}
	if _, err := broken.First().Ready(t.Context()); err == nil || broken.First().Broken() == nil {
		t.Errorf("got %v, broken %v", err, broken.First().Broken())
	}
}

// TestBrokenHeals has a runtime that cannot be opened tried again, ever more rarely, and at once for who asks; others
// are told each time that it breaks or heals.
func TestBrokenHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards tries and mended
		var tries []time.Duration
		began, broken, mended := time.Now(), errors.New("a folder is missing"), false
		tried := func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(tries)
		}
		s := runtimes.Find(t.Context(), []exec.Finder{listed{
			infos: both,
			open: func(exec.Info) (exec.Runtime, error) {
				mu.Lock()
				defer mu.Unlock()
				if tries = append(tries, time.Since(began)); !mended {
					return nil, broken
				}
				return &runtime{}, nil
			},
		}}, exec.Config{})
		defer s.Close()
		h := s.First()
		h.Begin()
		if _, err := h.Ready(t.Context()); !errors.Is(err, broken) {
			t.Fatalf("a broken runtime: %v", err)
		}
		<-s.Changes()
		told := runtimes.Announced(runtimes.Announce(s.Told(), 2048))
		if told[0].Problem != broken.Error() || runtimes.Meet(told, both[0].Needs()) ||
			!runtimes.Meet(told, both[1].Needs()) {
			t.Errorf("others are told of %+v", told)
		}
		if _, err := h.Ready(t.Context()); !errors.Is(err, broken) || len(tried()) != 1 {
			t.Errorf("whoever waits for it has it tried %d times: %v", len(tried()), err)
		}
		time.Sleep(10*time.Minute + 20*time.Second)
		synctest.Wait()
		want := []time.Duration{0, 10, 30, 70, 150, 310, 610}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, tried()); diff != "" {
			t.Errorf("it is tried after (-want +got):\n%s", diff)
		}
		mu.Lock()
		mended = true
		mu.Unlock()
		h.Begin() // its user has mended it, and submits a job
		if _, err := h.Ready(t.Context()); err != nil {
			t.Errorf("a mended runtime: %v", err)
		}
		<-s.Changes()
		if told = s.Told(); told[0].Problem != "" || len(runtimes.Offers(told)) != 2 {
			t.Errorf("others are told of %+v", told)
		}
		time.Sleep(time.Hour)
		h.Begin()
		if len(tried()) != len(want)+1 {
			t.Errorf("an open runtime is opened again: %v", tried())
		}
	})
}

// TestItemsAreForKindsThatTakeThem knows which kinds of work run over items.
func TestItemsAreForKindsThatTakeThem(t *testing.T) {
	s := runtimes.Find(t.Context(), []exec.Finder{listed{infos: both}, fakeexec.Finder{}}, exec.Config{})
	defer s.Close()
	if !s.TakesItems("test") || s.TakesItems("ROOT") || s.TakesItems("Python") {
		t.Errorf("items are taken for test: %v, ROOT: %v", s.TakesItems("test"), s.TakesItems("ROOT"))
	}
}

// TestFlaws tells what was named and is not used, where there is something to run jobs with.
func TestFlaws(t *testing.T) {
	flawed := runtimes.Find(t.Context(), []exec.Finder{listed{infos: both, flaw: errors.New("no ROOT in /nowhere")}},
		exec.Config{})
	defer flawed.Close()
	if err := flawed.Flaws(); err == nil || flawed.None() != nil {
		t.Errorf("flaws %v, none %v", err, flawed.None())
	}
	whole := runtimes.Find(t.Context(), []exec.Finder{fakeexec.Finder{}, listed{}}, exec.Config{})
	defer whole.Close()
	if err := whole.Flaws(); err != nil {
		t.Errorf("a kind that is not here is no flaw: %v", err)
	}
}

// TestAnnounced has a member know what another has, within bounds, whatever that sends.
func TestAnnounced(t *testing.T) {
	infos := []runtimes.Told{
		{Info: both[0]}, {Info: both[1]}, {Info: exec.Info{Kind: "test", Version: "1", Capabilities: []string{"gpu"}}},
	}
	if diff := cmp.Diff(infos, runtimes.Announced(runtimes.Announce(infos, 2048))); diff != "" {
		t.Errorf("(-told +heard):\n%s", diff)
	}
	if got := runtimes.Announced(runtimes.Announce(infos, 60)); len(got) == 0 || len(got) == len(infos) {
		t.Errorf("with little room it is told of %v", got)
	}
	many := strings.Repeat(`{"k":"ROOT","v":"1"},`, 1000)
	if got := runtimes.Announced("[" + many + `{"k":"x"}]`); len(got) > 16 {
		t.Errorf("%d runtimes are believed", len(got))
	}
	problem := "one\x1b[2J" + strings.Repeat("é", 300) + "\ntwo"
	long := runtimes.Announce([]runtimes.Told{{Info: both[0], Problem: problem}}, 2048)
	if got := runtimes.Announced(long); len(got) != 1 || !strings.HasPrefix(got[0].Problem, "one [2Jé") {
		t.Errorf("a long reason is told as %+v", got)
	}
	for _, text := range []string{"", "x", "{}", `[{"k":""}]`, `[{"k":"a\u001b[2J"}]`,
		`[{"k":"` + strings.Repeat("k", 17) + `"}]`, `[{"k":"ROOT","b":"` + strings.Repeat("b", 201) + `"}]`} {
		if got := runtimes.Announced(text); len(got) > 0 {
			t.Errorf("%q announces %v", text, got)
		}
	}
	if !runtimes.Meet(infos, []string{"test", "gpu"}) || runtimes.Meet(infos, []string{"ROOT", "gpu"}) {
		t.Error("needs are to be met by one runtime")
	}
}

// FuzzAnnounced reads whatever a member tells of its runtimes.
func FuzzAnnounced(f *testing.F) {
	f.Add(runtimes.Announce([]runtimes.Told{{Info: both[0]}, {Info: both[1], Problem: "broken"}}, 2048))
	f.Fuzz(func(t *testing.T, text string) {
		for _, info := range runtimes.Announced(text) {
			if info.Kind == "" || len(info.Kind) > 16 || len(info.Version) > 128 {
				t.Errorf("believed %+v", info)
			}
		}
	})
}
