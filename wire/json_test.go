package wire

import (
	"reflect"
	"testing"
)

func TestListsAreRead(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
		ok   bool
	}{
		{`["a","{[\"{[","c"]`, []string{"a", `{["{[`, "c"}, true},
		{`[]`, nil, true},
		{`null`, nil, true},
		{`["a","b","c","d"]`, nil, false},
		{`["a"`, nil, false},
		{`{"a":"b"}`, nil, false},
		{`[1]`, nil, false},
		{``, nil, false},
	} {
		got, err := ReadJSONList[string]([]byte(c.text), 3, 3)
		if (err == nil) != c.ok || c.ok && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, %v", c.text, got, err)
		}
	}
	if n := countValues([]byte(`{"a\\":"[\",[","b":[{},1,null]}`), 10); n != 5 {
		t.Errorf("%d values, want 5", n)
	}
}
