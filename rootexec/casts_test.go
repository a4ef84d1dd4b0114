package rootexec

import (
	"testing"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestCasts reads from code which type each parameter is looked for as.
func TestCasts(t *testing.T) {
	const code = `
		double a = ((TParameter<double>*) fInput->FindObject("a"))->GetVal();
		auto *b = static_cast<TParameter<Float_t> *>(
		    GetInputList()->FindObject( "b" ));
		// TParameter<double> *c = (TParameter<double>*)fInput->FindObject("c");
		TParameter<Long64_t> *c = (TParameter<Long64_t>*)fInput->FindObject("c");
		TParameter<int> *d = (TParameter<int>*)fInput->FindObject("d"), *e; TNamed *n = (TNamed*)fInput->FindObject("n");
		if (x) y = (TParameter<double>*)fInput->FindObject("f"); else z = (TParameter<int>*)fInput->FindObject("f");
		printf("TParameter<double> // of"); auto *g = (TParameter<double>*)fInput->FindObject("g");
	`
	params := []tasks.Param{
		{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "c", Value: "3"}, {Name: "d", Value: "4"},
		{Name: "f", Value: "5"}, {Name: "g", Value: "6"}, {Name: "n", Value: "7"}, {Name: "a:int", Value: "8"},
	}
	got := typed(params, castsOf(Source{Files: map[string][]byte{"S.C": []byte(code)}}))
	want := map[string]string{
		"a:first double": "1", "b:first float": "2", "c": "3", "d": "4", "f": "5", "g:first double": "6", "n": "7",
		"a:int": "8",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is not %s in %v", name, value, got)
		}
	}
	alone := typed(params[:2], castsOf(Source{Files: map[string][]byte{
		"S.h": []byte(`void S::look(const char *n) { TObject *o = fInput->FindObject(n);
			x = ((TParameter<double>*)o)->GetVal(); }`),
	}}))
	if alone["a:first double"] != "1" || alone["b:first double"] != "2" {
		t.Errorf("the only type is not that of all: %v", alone)
	}
}
