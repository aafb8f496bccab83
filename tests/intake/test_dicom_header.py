"""DICOM headers: kind of image, side and view, spacing, age."""

import numpy as np
import pydicom
import pytest
from mammogram_files import NO_TAGS, VALUES, code, item, reason
from pydicom.sr._snomed_dict import mapping as snomed
from pydicom.sr.codedict import codes

from bac_utils.intake import dicom_header as module
from bac_utils.intake.dicom_header import MAMMOGRAPHY_CLASSES
from bac_utils.intake.mammogram import REASONS
from bac_utils.intake.reader import read_mammogram


@pytest.mark.parametrize(
    ("changes", "spacing", "rule"),
    [
        ({}, (0.1, 0.1), "imager"),
        ({"EstimatedRadiographicMagnificationFactor": "1.25"}, (0.08, 0.08), "imager_over_magnification"),
        (
            {"DistanceSourceToDetector": "660", "DistanceSourceToPatient": "600"},
            (0.1 / 1.1, 0.1 / 1.1),
            "imager_over_distances",
        ),
        (
            {
                "EstimatedRadiographicMagnificationFactor": "1.25",
                "DistanceSourceToDetector": "660",
                "DistanceSourceToPatient": "600",
            },
            (0.08, 0.08),
            "imager_over_magnification",
        ),
        ({"EstimatedRadiographicMagnificationFactor": "0"}, (0.1, 0.1), "imager"),
        ({"EstimatedRadiographicMagnificationFactor": "1000"}, (0.1, 0.1), "imager"),
        ({"DistanceSourceToDetector": "660", "DistanceSourceToPatient": "0"}, (0.1, 0.1), "imager"),
        ({"PixelSpacing": [0.1, 0.1]}, (0.1, 0.1), "imager"),
        ({"PixelSpacing": [0.09, 0.08]}, (0.09, 0.08), "calibrated_pixel_spacing"),
        (
            {"PixelSpacing": [0.1, 0.1], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.1, 0.1),
            "calibrated_pixel_spacing",
        ),
        ({"ImagerPixelSpacing": None, "PixelSpacing": [0.2, 0.3]}, (0.2, 0.3), "pixel_spacing"),
        (
            {"ImagerPixelSpacing": None, "NominalScannedPixelSpacing": [0.05, 0.05]},
            (0.05, 0.05),
            "scanned_pixel_spacing",
        ),
        ({"ImagerPixelSpacing": None}, None, ""),
        ({"ImagerPixelSpacing": [0, 0]}, None, ""),
        ({"ImagerPixelSpacing": ["1e-30", "0.1"]}, None, ""),  # better no area than an absurd one
        ({"ImagerPixelSpacing": ["9", "9"], "PixelSpacing": [0.2, 0.2]}, (0.2, 0.2), "pixel_spacing"),
        ({"ImagerPixelSpacing": "0.1"}, None, ""),
    ],
)
def test_spacing_rules(dicom, changes, spacing, rule):
    found = read_mammogram(dicom(**changes))
    assert found.spacing_mm == (pytest.approx(spacing) if spacing else None)
    assert found.spacing_rule == rule


SC = "1.2.840.10008.5.1.4.1.1.7"


def region(value):
    return [item(AnatomicRegionModifierSequence=[code(value)])]


@pytest.mark.parametrize(
    ("changes", "side", "view"),
    [
        ({"ImageLaterality": "R", "ViewPosition": "MLO"}, "R", "MLO"),
        ({"ImageLaterality": None, "Laterality": "R"}, "R", "CC"),
        ({"ImageLaterality": "RIGHT"}, "R", "CC"),
        ({**NO_TAGS, "PatientOrientation": ["P", "HL"]}, "L", "MLO"),  # turned by 180 degrees
        ({**NO_TAGS, "PatientOrientation": ["HR", "P"]}, "R", "MLO"),  # turned by 270 degrees
        ({**NO_TAGS, "PatientOrientation": ["FR", "P"]}, "L", "MLO"),  # turned by 90 degrees
        ({**NO_TAGS, "PatientOrientation": ["A", "HL"]}, "", "MLO"),  # mirrored: no hanging of either breast
        ({**NO_TAGS, "PatientOrientation": ["R", "P"]}, "", ""),  # CC, turned: one way or the other
        ({"ImageLaterality": "U"}, "", "CC"),
        ({**NO_TAGS, "ViewCodeSequence": [code("399368009")]}, "", "MLO"),
        ({**NO_TAGS, "ViewCodeSequence": [code("R-10242")]}, "", "CC"),
        ({"ViewCodeSequence": [code("vendor's own")]}, "L", "CC"),
        ({"ViewModifierCodeSequence": [code("442581004")]}, "L", "CC"),  # nipple in profile: the whole breast
        ({**NO_TAGS, "AnatomicRegionSequence": region("24028007")}, "R", ""),
        ({**NO_TAGS, "AnatomicRegionSequence": region("51440002")}, "", ""),
        ({**NO_TAGS, "ViewPosition": "RMLO"}, "R", "MLO"),
        ({**NO_TAGS, "ViewPosition": "L CC"}, "L", "CC"),
        ({**NO_TAGS, "PatientOrientation": ["A", "R"]}, "L", "CC"),
        ({**NO_TAGS, "PatientOrientation": ["P", "L"]}, "R", "CC"),
        ({**NO_TAGS, "PatientOrientation": ["A", "FR"]}, "L", "MLO"),
        ({**NO_TAGS, "PatientOrientation": ["P", "FL"]}, "R", "MLO"),
        ({**NO_TAGS, "PatientOrientation": ["P", "R"]}, "", "CC"),
        ({**NO_TAGS, "PatientOrientation": ["P", "F"]}, "", ""),
        ({**NO_TAGS, "PatientOrientation": "MLO"}, "", "MLO"),
        ({"PatientOrientation": ["P", "FL"]}, "L", "CC"),  # tags outrank the orientation
        ({"PatientOrientation": ["P", "FL"], "ViewPosition": None}, "L", "MLO"),
        ({**NO_TAGS}, "", ""),
        ({**NO_TAGS, "SeriesDescription": "R CC"}, "R", "CC"),
        ({**NO_TAGS, "ProtocolName": "Mamma links MLO"}, "L", "MLO"),
        ({**NO_TAGS, "SeriesDescription": "kranio-kaudal rechts"}, "R", "CC"),
        ({**NO_TAGS, "SeriesDescription": "Schraeg li."}, "L", "MLO"),
        ({**NO_TAGS, "SeriesDescription": "Sein droit oblique"}, "R", "MLO"),
        ({**NO_TAGS, "SeriesDescription": "Mama izquierda craneocaudal"}, "L", "CC"),
        ({**NO_TAGS, "SeriesDescription": "Left Medio-Lateral Oblique"}, "L", "MLO"),
        ({**NO_TAGS, "AcquisitionDeviceProcessingDescription": "RMLO"}, "R", "MLO"),
        ({**NO_TAGS, "SeriesDescription": "MG screening bilateral", "ProtocolName": "CC-R"}, "R", "CC"),
        ({**NO_TAGS, "ImageType": ["DERIVED", "PRIMARY", "", "RIGHT"], "SeriesDescription": "MLO"}, "R", "MLO"),
        ({**NO_TAGS, "ViewPosition": "craniocaud. li"}, "L", "CC"),
        ({"ViewPosition": "ML schraeg"}, "L", "MLO"),
        ({"ImageLaterality": "RECHTS"}, "R", "CC"),
        ({**NO_TAGS, "ViewCodeSequence": [item(CodeValue="99", CodeMeaning="MLO right")]}, "R", "MLO"),
        ({"SeriesDescription": "R MLO"}, "L", "CC"),  # tags outrank descriptions, which may be of another image
        ({"SeriesDescription": "mammo screening with CAD"}, "L", "CC"),
        ({**NO_TAGS, "SeriesDescription": "MG R+L CC"}, "", "CC"),
        ({**NO_TAGS, "SeriesDescription": "Tomosynthesis R2"}, "", ""),
    ],
)
def test_side_and_view(dicom, changes, side, view):
    found = read_mammogram(dicom(**changes))
    assert (found.laterality, found.view) == (side, view)


@pytest.mark.parametrize(
    ("stored", "declared"),
    [("latin-1", ""), ("latin-1", "ISO_IR 100"), ("utf-8", ""), ("utf-8", "ISO_IR 100"), ("utf-8", "ISO_IR 192")],
)
def test_umlauts_in_either_encoding_declared_or_not(tmp_path, dicom, stored, declared):
    plain = dicom(**NO_TAGS, SeriesDescription="Mamma schr__g re", SpecificCharacterSet=declared)
    path = tmp_path / "umlaut.dcm"
    path.write_bytes(plain.read_bytes().replace(b"schr__g ", "schräg ".encode(stored).ljust(8)))
    found = read_mammogram(path)
    assert (found.laterality, found.view) == ("R", "MLO")


@pytest.mark.parametrize(
    ("age", "changes", "years"),
    [
        ("059Y", {}, 59),
        ("060M", {}, 5),
        ("42", {}, 42),
        ("059", {}, 59),
        ("0059", {}, 59),
        (" 59 ", {}, 59),
        ("059y", {}, 59),
        ("59J", {}, 59),
        ("700M", {}, 700 / 12),
        ("59.5", {}, 59),
        ("42", {"PatientBirthDate": "19500615", "StudyDate": "20180615"}, 68),  # dates outrank a bare number
        ("590", {}, None),
        ("-59", {}, None),
        ("5", {}, None),
        ("1965", {}, None),
        ("fifty", {}, None),
        ("590Y", {}, None),
        ("000Y", {}, None),
        ("000Y", {"PatientBirthDate": "19500615", "AcquisitionDate": "20180615"}, 68),
        ("", {"PatientBirthDate": "19500615", "StudyDate": "20180614"}, 67),
        ("", {"PatientBirthDate": "19500615", "StudyDate": "20180615"}, 68),
        ("", {"PatientBirthDate": "1950.06.15", "StudyDate": "2018-06-15"}, 68),
        ("", {"PatientBirthDate": "20180615", "StudyDate": "19500615"}, None),
        ("", {"PatientBirthDate": "1950", "StudyDate": "20180615"}, None),
        ("", {"PatientBirthDate": "19500615"}, None),
        ("", {}, None),
    ],
)
def test_age(dicom, age, changes, years):
    with pydicom.config.disable_value_validation():
        path = dicom(PatientAge=age, **changes)
    assert read_mammogram(path).age == years


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Modality": "CT"}, "not_mammography"),
        ({"Modality": "CR"}, "not_mammography"),
        ({"Modality": "", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "not_mammography"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.50"}, "not_mammography"),  # a report on a mammogram
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "not_mammography"),  # a document
        ({"QualityControlImage": "YES"}, "not_mammography"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, "multi_frame"),
        ({"NumberOfFrames": "2"}, "multi_frame"),
        ({"SeriesDescription": "L CC Tomosynthesis Projection"}, "multi_frame"),
        ({"PerFrameFunctionalGroupsSequence": [item(), item()]}, "multi_frame"),
        ({"VolumetricProperties": "VOLUME"}, "multi_frame"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "TOMO_PROJ", "RIGHT"]}, "multi_frame"),
        ({"ImageType": ["DERIVED", "PRIMARY", "TOMO_2D"]}, "synthetic"),
        ({"ImageType": ["DERIVED", "PRIMARY", "TOMO", "GENERATED_2D"]}, "synthetic"),
        ({"ImageType": ["DERIVED", "PRIMARY", "POST_CONTRAST", "SUBTRACTION"]}, "synthetic"),
        ({"SeriesDescription": "L CC C-View"}, "synthetic"),
        ({"SeriesDescription": "SVIEW L CC"}, "synthetic"),
        ({"SeriesDescription": "L CC Intelligent 2D"}, "synthetic"),
        ({"SeriesDescription": "L CC S2D"}, "synthetic"),
        ({"SeriesDescription": "SyntheticView"}, "synthetic"),
        ({"SeriesDescription": "Insight 2D"}, "synthetic"),
        ({"SeriesDescription": "v-preview"}, "synthetic"),
        ({"SeriesDescription": "2D synthetisch"}, "synthetic"),
        ({"SeriesDescription": "Mammographie 2D synthétique"}, "synthetic"),
        ({"AcquisitionDeviceProcessingDescription": "C-View"}, "synthetic"),
        ({"BurnedInAnnotation": "YES"}, "secondary_capture"),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, "secondary_capture"),
        ({"ImageType": ["ORIGINAL", "SECONDARY"], "SOPClassUID": SC, "ConversionType": "WSD"}, "secondary_capture"),
        ({"ImageType": ["DERIVED", "PRIMARY", "SCREEN_SAVE"]}, "secondary_capture"),
        ({"SOPClassUID": SC, "ConversionType": "SD"}, "secondary_capture"),
        ({"SOPClassUID": SC, "ConversionType": "SYN"}, "secondary_capture"),
        ({"SOPClassUID": SC, "SeriesDescription": "CAD marks"}, "secondary_capture"),
        ({"SeriesDescription": "iCAD SecondLook"}, "secondary_capture"),
        ({"SeriesDescription": "Screen capture"}, "secondary_capture"),
        ({"SeriesDescription": "Bildschirmfoto"}, "secondary_capture"),
        ({"SeriesDescription": "Dose Report"}, "secondary_capture"),
        ({"SeriesDescription": "L CC annotated"}, "secondary_capture"),
        ({"DerivationDescription": "CAD marks burned in"}, "secondary_capture"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"PhotometricInterpretation": None}, "unreadable"),
        ({"Rows": None}, "truncated"),
        ({"Rows": 33}, "truncated"),
        ({"PixelData": None}, "truncated"),
        ({"Rows": 0}, "unreadable"),
        ({"Rows": 65535, "Columns": 65535}, "too_large"),
        ({"Rows": 7}, "conflict"),
        ({"BitsAllocated": 12}, "unreadable"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "unreadable"),
        ({"BitsStored": 17}, "unreadable"),
        ({"BitsStored": 0}, "unreadable"),
        ({"HighBit": 15}, "conflict"),
        ({"PixelRepresentation": 2}, "unreadable"),
        ({"PixelRepresentation": None}, "unreadable"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "STEREO_SCOUT"]}, "localiser"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "TOMO_SCOUT"]}, "localiser"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "BIOPSY"]}, "localiser"),
        ({"ImageType": ["DERIVED", "PRIMARY", "RECOMBINED"]}, "synthetic"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "POSTFIRE_PLUS"]}, "localiser"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "SPECIMEN"]}, "specimen"),
        ({"ViewCodeSequence": [code("127457009")]}, "specimen"),
        ({"BreastImplantPresent": "YES"}, "implant"),
        ({"ViewModifierCodeSequence": [code("399209000")]}, "implant"),
        ({"ViewPosition": "MLO ID"}, "implant"),
        ({"ViewPosition": "CCID"}, "implant"),
        ({"PartialView": "YES"}, "partial_view"),
        ({"SeriesDescription": "cropped images"}, "partial_view"),
        (
            {"ViewCodeSequence": [item(CodeValue="399162004", ViewModifierCodeSequence=[code("399163009")])]},
            "spot_or_magnification",
        ),
        ({"ViewModifierCodeSequence": [code("R-102D7")]}, "spot_or_magnification"),
        ({"ViewPosition": "CC SPOT"}, "spot_or_magnification"),
        ({"PaddleDescription": "7.5CM SPOT CONTACT"}, "spot_or_magnification"),
        ({"EstimatedRadiographicMagnificationFactor": "1.8"}, "spot_or_magnification"),
        ({"DistanceSourceToDetector": "650", "DistanceSourceToPatient": "350"}, "spot_or_magnification"),
        ({"ViewCodeSequence": [code("399192008")]}, "other_view"),
        ({"ViewModifierCodeSequence": [code("399197002")]}, "other_view"),
        ({"ViewPosition": "XCCL"}, "other_view"),
        ({"ViewPosition": "ML"}, "other_view"),
        ({"ViewPosition": "LL"}, "other_view"),
        ({"ImageLaterality": "B"}, "other_view"),
        ({"ViewCodeSequence": [code("399368009")]}, "conflict"),
        ({"Laterality": "R"}, "conflict"),
        ({**NO_TAGS, "SeriesDescription": "R CC", "ProtocolName": "L CC"}, "conflict"),
        ({**NO_TAGS, "SeriesDescription": "R CC", "ProtocolName": "R MLO"}, "conflict"),
        ({**NO_TAGS, "SeriesDescription": "R CC", "PatientOrientation": ["A", "R"]}, "conflict"),
        ({"ViewPosition": None, "SeriesDescription": "R MLO"}, "conflict"),  # the tags say L
        ({**NO_TAGS, "SeriesDescription": "R ML"}, "other_view"),
        ({**NO_TAGS, "SeriesDescription": "mediolateral right"}, "other_view"),
        ({**NO_TAGS, "SeriesDescription": "L CC Spot"}, "spot_or_magnification"),
        ({"SeriesDescription": "L CC Mag"}, "spot_or_magnification"),
        ({"SeriesDescription": "L CC ID"}, "implant"),
        ({"ViewPosition": "RCC"}, "conflict"),
        ({"AnatomicRegionSequence": region("G-A100")}, "conflict"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "conflict"),
    ],
)
def test_reasons(dicom, changes, expected):
    assert reason(dicom(**changes)) == expected


def older(value):
    """Return the older codes, of SRT, for a SNOMED CT code."""
    return [old for old, new in snomed["SRT"].items() if new == value]


def test_every_view_and_modifier_of_the_standard_is_handled():
    """Each code of CID 4014 and 4015, as listed by pydicom, is accepted or refused, in both coding schemes."""
    taken = {"CranioCaudal": "CC", "MedioLateralObliqueProjection": "MLO"}
    refused = {
        "TissueSpecimenFromBreast": "specimen", "Magnification": "spot_or_magnification",
        "SpotCompression": "spot_or_magnification", "ImplantDisplaced": "implant",
    }  # fmt: skip
    whole = ("AnteriorCompression", "InfraMammaryFold", "NippleInProfile")  # modifiers of whole views
    assert set(taken) < set(codes.cid4014.dir()) and {*refused, *whole} < {*codes.cid4014.dir(), *codes.cid4015.dir()}
    for group in (codes.cid4014, codes.cid4015):
        for name in group.dir():
            value = getattr(group, name).value
            assert older(value)
            for form in (value, *older(value)):
                expected = None if name in taken or name in whole else refused.get(name, "other_view")
                assert module.VIEW_CODES.get(form) == taken.get(name), name
                assert module.REFUSED_CODES.get(form) == expected, name
    for name, side in (("Left", "L"), ("Right", "R")):
        value = getattr(codes.cid244, name).value
        assert {module.SIDE_CODES[form] for form in (value, *older(value))} == {side}


def test_refusals_are_reasons():
    assert {*module.REFUSED_CODES.values(), *module.REFUSED_IMAGE_TYPES.values()} <= set(REASONS)


def test_a_breast_of_another_modality_is_accepted(dicom):
    for modality in ("CR", "RG"):  # storage phosphor, digitised film
        assert read_mammogram(dicom(Modality=modality, BodyPartExamined="BREAST")).view == "CC"
    film = dict(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", PresentationIntentType=None)
    assert read_mammogram(dicom(**film)).view == "CC"
    assert read_mammogram(dicom(Modality="", SOPClassUID=MAMMOGRAPHY_CLASSES[0])).view == "CC"
    assert read_mammogram(dicom(SOPClassUID="1.2.3.4.5")).view == "CC"  # a vendor's own class


def test_a_scanned_film_is_accepted(dicom):
    film = dict(SOPClassUID=SC, PresentationIntentType=None)
    assert read_mammogram(dicom(**film, ConversionType="DF", ImageType=["DERIVED", "SECONDARY"])).view == "CC"
    assert read_mammogram(dicom(**film, ConversionType="WSD")).view == "CC"  # as CBIS-DDSM


@pytest.mark.parametrize(
    "part", ["L BREAST", "BREAST_L", "MAMMA", "Mammo links", "BRUST", "SEIN", "PRSA", "EXAM1", "", "CHEST"]
)
@pytest.mark.parametrize("modality", ["CR", "DX"])
def test_the_region_code_makes_up_for_the_sites_own_words(dicom, part, modality):
    changes = dict(Modality=modality, SOPClassUID="1.2.840.10008.5.1.4.1.1.1", PresentationIntentType=None)
    with pydicom.config.disable_value_validation():
        for value in ("76752008", "T-04000"):
            path = dicom(**changes, BodyPartExamined=part, AnatomicRegionSequence=[code(value)])
            assert read_mammogram(path).view == "CC"
        view = dicom(**changes, BodyPartExamined=part, ViewCodeSequence=[code("399162004")])
        assert (reason(view) == "not_mammography") if part == "CHEST" else (read_mammogram(view).view == "CC")
        local = item(CodeValue="17", CodingSchemeDesignator="99SITE", CodeMeaning="Brust")
        assert read_mammogram(dicom(**changes, BodyPartExamined=part, AnatomicRegionSequence=[local])).view == "CC"
        other = dicom(**changes, BodyPartExamined="HAND", AnatomicRegionSequence=[code("85562004")])
        assert reason(other) == "not_mammography"


def test_women_who_share_a_patient_id_are_told_apart(dicom):
    def woman(**changes):
        return read_mammogram(dicom(**changes)).patient_id

    for shared in ("removed", "ANON", "0", "Anonymous Patient", "XXXX", "N/A", "de-identified"):
        first = woman(PatientID=shared, StudyInstanceUID="2.25.5")
        assert first.startswith(f"{shared}-") and first == woman(
            PatientID=shared, StudyInstanceUID="2.25.5", SOPInstanceUID="2.25.9", ViewPosition="MLO"
        )
        assert first != woman(PatientID=shared, StudyInstanceUID="2.25.6")
        assert first != woman(PatientID=shared, StudyInstanceUID="2.25.5", PatientAge="046Y")
        assert woman(PatientID=shared, PatientName="removed") == ""
    for own in ("W-1", "5", "ANON0001", "patient 3", "S5-00003"):
        assert woman(PatientID=own, StudyInstanceUID="2.25.5") == own


def test_masks_are_not_mammograms(dicom):
    assert reason(dicom((VALUES > 900).astype(np.uint8) * 255)) == "not_mammography"
