"""Views tables from public datasets and from folders of DICOM files: one module per archive.

Column names, codes and pitfalls come from the datasets' own documentation and from public programs that read them;
`docs/archives.md` states for each dataset what to download, what is labelled and what is not. No reader opens a file
outside the folders that it is given. From a public dataset, only its own anonymous identifiers are copied.
"""

from collections.abc import Callable
from types import MappingProxyType

from bac_utils.archives.cbis_ddsm import read_cbis_ddsm
from bac_utils.archives.conversion import Archive
from bac_utils.archives.dicom_folder import read_dicom_folder
from bac_utils.archives.embed import read_embed
from bac_utils.archives.inbreast import read_inbreast
from bac_utils.archives.rsna import read_rsna
from bac_utils.archives.vindr_mammo import read_vindr_mammo

ARCHIVES: MappingProxyType[str, Callable[..., Archive]] = MappingProxyType(
    {
        "CBIS-DDSM": read_cbis_ddsm,
        "EMBED": read_embed,
        "VinDr-Mammo": read_vindr_mammo,
        "RSNA": read_rsna,
        "INbreast": read_inbreast,
        "DICOM": read_dicom_folder,
    }
)
"""Readers by name of the archive. All take `source` and the keywords `ages` and `without_age`. The datasets also take
`images`; `DICOM` and `INbreast` take `labels`, and `DICOM` takes `key` and `keep_ids`."""
