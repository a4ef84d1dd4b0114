package main

// How the flags of fInput are explained, which several commands have.
const (
	paramUsage = "`name=value` in the selector's fInput: a number is a TParameter of each type that can hold it and a " +
		"TNamed, anything else a TNamed; name:TYPE=value makes a TParameter<TYPE> alone, with double, float, int, long " +
		"(Long64_t) or bool, or with string a TNamed; repeatable"
	inputUsage = "ROOT `file` whose objects are in the selector's fInput, or FILE:name,name for some of them; folders " +
		"become TLists; repeatable"
)
