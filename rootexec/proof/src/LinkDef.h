// The classes that have a dictionary, in alphabetical order, so that additions seldom meet.
#ifdef __CLING__
#pragma link off all globals;
#pragma link off all classes;
#pragma link off all functions;

#pragma link C++ global gProof;
#pragma link C++ global gProofDebugLevel;
#pragma link C++ global gProofDebugMask;
#pragma link C++ global gProofMutex;
#pragma link C++ global gProofServ;
#pragma link C++ class TDSet+;
#pragma link C++ class TDSetElement+;
#pragma link C++ class TDrawFeedback;
#pragma link C++ class TProof;
#pragma link C++ class TProofChain;
#pragma link C++ class TProofDebug;
#pragma link C++ class TProofDesc;
#pragma link C++ class TProofLite;
#pragma link C++ class TProofLog;
#pragma link C++ class TProofLogElem;
#pragma link C++ class TProofMgr;
#pragma link C++ class TProofNodeInfo+;
#pragma link C++ class TProofOutputFile+;
#pragma link C++ class TProofOutputList+;
#pragma link C++ class TProofPlayer;
#pragma link C++ class TProofProgressStatus+;
#pragma link C++ class TProofQueryResult+;
#pragma link C++ class TProofServ;
#pragma link C++ class TProofTreePlayer;
#pragma link C++ class TQueryResult+;
#pragma link C++ class TSlaveInfo+;
#pragma link C++ class TStatsFeedback;
#pragma link C++ class TVirtualProofPlayer;
#endif
