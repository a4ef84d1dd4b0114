// The classes that have a dictionary.
#ifdef __CLING__
#pragma link off all globals;
#pragma link off all classes;
#pragma link off all functions;

#pragma link C++ global gProofServ;
#pragma link C++ global gProofDebugMask;
#pragma link C++ global gProofDebugLevel;
#pragma link C++ class TProofDebug;
#pragma link C++ class TProofServ;
#endif
