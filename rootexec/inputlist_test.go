package rootexec

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// given runs Begin of the class Given with parameters and objects, and the SlaveBegin of two generations, and returns
// what each has printed.
func given(t *testing.T, params map[string]string, files []InputFile) (begin string, slaves []string) {
	t.Helper()
	s := load(t, "Given")
	p := &program{Selector: s, work: work{}}
	defer p.in.release()
	if len(files) > 0 {
		p.given.path = filepath.Join(t.TempDir(), "given")
		if err := s.collect(t.Context(), files, p.given.path); err != nil {
			t.Fatal(explain(err))
		}
	}
	c, err := s.StartClient(t.Context(), ClientSpec{Params: params, Given: p.given.path}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	input, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(explain(err))
	}
	var running []*Generation
	for range 2 {
		r := newRecorder()
		g, err := p.Start(t.Context(), exec.GenSpec{Dir: t.TempDir(), Input: input}, r)
		if err != nil {
			t.Fatal(explain(err))
		}
		running = append(running, g.(*Generation))
	}
	for _, g := range running {
		if _, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "p")); err != nil {
			t.Fatal(explain(err))
		}
		<-g.Done() // with its process all that it has printed is here
		slaves = append(slaves, lineWith(g.Output(), "SlaveBegin:"))
	}
	return lineWith(c.Output(), "Begin:"), slaves
}

func lineWith(text, prefix string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "no line " + prefix + " in " + text
}

// TestParametersAreWhatSelectorsLookFor finds each parameter in the ways in which selectors look for it.
func TestParametersAreWhatSelectorsLookFor(t *testing.T) {
	begin, slaves := given(t, map[string]string{
		"a": "20", "b": "0.5", "c": "text", "d": "1", "e": "5000000000", "f:double": "3", "g:int": "3", "h:long": "3",
		"i:bool": "true", "j:float": "0.5", "k:string": "007", "l": "1e400", "m": "nan", "n": "-3", "o": "2026-11-29",
		"p": "", "q:first double": "20", "r:first float": "0.1", "s:first float": "-3000000000", "t:first double": "text",
	}, nil)
	const want = "a double 20 float 20 long64 20 long 20 int 20 named 20; " +
		"b double 0.5 float 0.5 named 0.5; c named text; " +
		"d double 1 float 1 long64 1 long 1 int 1 bool 1 named 1; e double 5e+09 float 5e+09 long64 5000000000 long " +
		"5000000000 named 5000000000; f double 3; g int 3; h long64 3; i bool 1; j float 0.5; k named 007; l named 1e400; " +
		"m named nan; n double -3 float -3 long64 -3 long -3 int -3 named -3; o named 2026-11-29; p named ; " +
		"q double 20 float 20 long64 20 long 20 int 20 named 20; r double 0.1 float 0.1 " +
		"named 0.1; s double -3e+09 float -3e+09 long64 -3000000000 long -3000000000 named -3000000000; t named text;"
	for _, got := range append(slaves, begin) {
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

// TestInputIsShared gives a selector objects of a file, has Begin change one of them and add a large one and nested
// lists, and two generations change theirs: each sees what Begin has left.
func TestInputIsShared(t *testing.T) {
	file := makeObjects(t)
	for _, bins := range []string{"10", "1000000"} { // read by each generation, and once for all
		begin, slaves := given(t, map[string]string{"adds": bins}, []InputFile{{Path: file}})
		const objects = " changed named  sum 3; dir [h2 named  sum 5] [deeper [n named x]]; h1 named  sum 2; n named x;"
		adds := strings.TrimSuffix(strings.TrimPrefix(begin, "adds"), objects)
		if begin != "adds"+adds+objects {
			t.Errorf("Begin sees %s", begin)
		}
		want := "adds" + adds + strings.Replace(objects, "sum 3", "sum 13", 1) +
			" outer [in named deep] [inner [far named  sum 4]]; large named  sum 7;"
		for _, got := range slaves {
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		}
	}
	_, slaves := given(t, nil, []InputFile{{Path: file, Names: []string{"n", "dir/h2"}}})
	if slaves[0] != "n named x; h2 named  sum 5;" {
		t.Errorf("some of a file are %s", slaves[0])
	}
}

// makeObjects writes a file of objects with folders.
func makeObjects(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "objects.root")
	mustBegin(t, "MakeObjects", map[string]string{"file": path})
	return path
}

// TestInputThatCannotBe is told with the file, the object and what to do.
func TestInputThatCannotBe(t *testing.T) {
	s, file, tree := load(t, "Given"), makeObjects(t), makeData(t, "tree.root", 10, 0)
	for _, c := range []struct {
		in   InputFile
		says string
	}{
		{InputFile{Path: file, Names: []string{"nowhere"}}, "there is no object nowhere; there is: "},
		{InputFile{Path: file, Names: []string{"no/where"}}, "there is no object no/where"},
		{InputFile{Path: tree}, "T is a tree"},
		{InputFile{Path: file + "x"}, "No such file"},
	} {
		err := s.collect(t.Context(), []InputFile{c.in}, filepath.Join(t.TempDir(), "given"))
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.in.Path) {
			t.Errorf("%v: %v", c.in, err)
		}
	}
	for key, value := range map[string]string{
		"x:int": "0.5", "x:long": "9223372036854775808", "x:bool": "yes", "x:double": "much", "x:what": "1", "x:": "1",
		":int": "1",
	} {
		if CheckParam(key, value) == nil {
			t.Errorf("%s=%s is taken", key, value)
		}
	}
}
