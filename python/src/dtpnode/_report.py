"""What is missing in a result, as a table."""

from typing import TYPE_CHECKING, Any, Sequence

from ._errors import Error

if TYPE_CHECKING:
    import pandas


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> "pandas.DataFrame":
    """Rows as a DataFrame with these columns, also where there is no row. Without pandas, which the package does not
    need for anything else, it is an Error that says where the rows are."""
    try:
        import pandas
    except ImportError:
        raise Error(
            "a report is a DataFrame, and there is no pandas here",
            "pip install 'dtpnode[results]', or take its rows as dictionaries: .missing has them",
        ) from None
    return pandas.DataFrame(rows, columns=list(columns))
