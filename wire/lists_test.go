package wire

import "testing"

// TestLists checks that only elements of arrays are counted.
func TestLists(t *testing.T) {
	type file struct {
		Name     string  `msgpack:"n"`
		Clusters []int64 `msgpack:"c"`
	}
	b, err := Marshal(&struct {
		Name  string `msgpack:"n"`
		Files []file `msgpack:"f"`
		Sites []string
		Empty []int64
	}{Name: "job", Files: []file{{"a", []int64{0, 1, 1 << 40}}, {"b", nil}}, Sites: []string{"x", "y"}})
	if err != nil {
		t.Fatal(err)
	}
	if structs, others := Lists(b); structs != 2 || others != 5 {
		t.Errorf("counted are %d structs and %d others", structs, others)
	}
	for _, bad := range []string{"", "\xc1", "\x9f", "\xdd\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff"} {
		Lists([]byte(bad)) // must return without a panic
	}
}
