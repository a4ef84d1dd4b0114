"""What ROOT finds as its backend Dtpnode: ``ROOT.RDF.Distributed.Dtpnode.RDataFrame``."""

from dtpnode import RDataFrame

__all__ = ["RDataFrame"]
