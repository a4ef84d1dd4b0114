// Functions of two sources, each of which calls the other's.
#pragma once
long long offset();             // in Tally2.cxx
long long scaled(long long id); // in scale.cxx
