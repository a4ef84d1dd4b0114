module github.com/dtpnode/dtpnode

go 1.26
