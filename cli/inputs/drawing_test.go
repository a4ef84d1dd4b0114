package inputs

import (
	"strings"
	"testing"
)

// TestCheckDrawing: what ROOT would take without a word, and draw otherwise than it is written, is refused; what it
// draws as it is written is not.
func TestCheckDrawing(t *testing.T) {
	for _, c := range []struct{ expression, option, says string }{
		{"x>>h(abc)", "", `"abc" is no number`},
		{"x>>h(10,,5)", "", `"" is no number`},
		{"x>>h(10,0,1,", "", "not closed"},
		{"x>>h(10,0,1)more", "", `what is "more" behind`},
		{"x>>h(10,0,1,5)", "", "4 numbers are given for 1 axis, which takes at most 3"},
		{"y:x>>h(10,0,1,5,0,1,2)", "", "for 2 axes, which take at most 6"},
		{"x>>h(0,0,1)", "", "0 is no number of bins"},
		{"x>>h(-3,0,1)", "", "-3 is no number of bins"},
		{"x>>h(10.7,0,1)", "", "10.7 is no number of bins"},
		{"x>>h(1e9,0,1)", "", "bins in each process"},
		{"y:x>>h(20000,0,1,20000,0,1)", "", "bins in each process"},
		{"x>>h(10,nan,1)", "", "finite"},
		{"x>>h(10,0,inf)", "", "finite"},
		{"x>>", "", "a name is missing"},
		{"x>>+", "", "a name is missing"},
		{"x>>dir/h", "", `"dir/h" is no name`},
		{"x>>h)", "", `"h)" is no name`},
		{">>list(10)", "", "a list of entries has no bins"},
		{"a:b:c:d", "", "at most 3 can be drawn"},
		{"a:b:c>>h", "colz", "of three columns the option colz"},
		{"a:b", "candle", "the option candle"},
		{"a:b:c:d:e", "PARA", "single rows"},
		{"x>>h(10,0)", "", ""},
		{"x>>h(10,5,5)", "", ""}, // limits that are found
		{"x>>h( 10 , 0 , 1e3 ) ", "", ""},
		{"x>>(10,0,100)", "", ""},
		{"x >> + h", "", ""},
		{"a>0?b:c::d>>h(10,0,1)", "", ""},
		{"y:x>>h(10,0,1,5)", "colz", ""},
		{"z:y:x", "profs colz", ""},
		{">>+list", "", ""},
	} {
		err := CheckDrawing(c.expression, c.option)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%q, %q: %v", c.expression, c.option, err)
		}
	}
}
