"""What the README and the pages of docs claim, with the values from the tables in results/published."""

from typing import NamedTuple

from helpers.published import (
    ADAPTING_SECONDS,
    ADDITIONS,
    AWAY,
    BMP,
    BORDER_TESTS,
    BORDERS,
    CALIBRATION,
    CHANGED,
    CLUSTER,
    COMPACT_16,
    CORRECTED,
    CT,
    DELIVERED,
    DICE_OF_THREE,
    DRAWN,
    ENGINES,
    FEW,
    FEW_DRAWS,
    FILMS,
    FOLDS,
    FOLDS_LEAD,
    FOLDS_SCORES,
    FOLDS_TESTS,
    FRAMEWORKS,
    FULL,
    FULL_DICE,
    FULL_OTHERS,
    FULL_PAIRS,
    FULL_TEST,
    GPU,
    GPU_DICE,
    GPU_EPOCHS,
    INFERENCE,
    LEFT,
    NETWORKS,
    NETWORKS_TESTS,
    ON_THEIR_HEAD,
    ONCE,
    ONE_FILM,
    ONE_FILM_LOSS,
    ORDER,
    PHANTOM,
    PREPARE,
    REAL_FILES,
    REVIEW,
    REVIEW_BMP,
    REVIEW_CHANGED,
    SEARCH_EFFECTS,
    SEARCHED,
    SEARCHED_AGAIN,
    SEEDS,
    SEGMENT,
    SHIFT_PERCENT,
    SHIPPED,
    SKEWED,
    TEST,
    THREE_PAIRS,
    TRAINING,
    TUBERCULOSIS,
    WRONG,
    WRONG_INPUT,
    WRONGLY_ALIKE,
    WRONGLY_ALIKE_REPEATED,
    curve_row,
    false_alarms,
    fold_row,
    found,
    full_row,
    gain_of,
    mean_of,
    network_row,
    order_mean,
    percent,
    quick_row,
    recipe,
    shipped_row,
    spread,
    summary,
    table,
    three_row,
)
from lungnb.settings import EQUIVALENCE_MARGIN


class Claim(NamedTuple):
    """A text of a page and the published value of each of its numbers."""

    text: str
    values: list[float]


CURVE_ROWS = {  # of the table of adapting, by the number of images
    1: "| 1 | 0.970 (0.969 to 0.971) | 0.951 (0.949 to 0.953) | 0.980 (0.980 to 0.980) | 0.980 (0.979 to 0.980) |",
    2: "| 2 | 0.971 (0.970 to 0.972) | 0.953 (0.952 to 0.954) | 0.980 (0.980 to 0.980) | 0.980 (0.980 to 0.981) |",
    5: "| 5 | 0.973 (0.971 to 0.973) | 0.951 (0.939 to 0.955) | 0.982 (0.981 to 0.982) | 0.981 (0.981 to 0.982) |",
    10: "| 10 | 0.974 (0.974 to 0.975) | 0.953 (0.948 to 0.956) | 0.982 (0.982 to 0.983) | 0.981 (0.981 to 0.981) |",
    20: "| 20 | 0.975 (0.975 to 0.976) | 0.955 (0.950 to 0.957) | 0.983 (0.983 to 0.983) | 0.982 (0.981 to 0.983) |",
}
CLAIMS = [
    # Is anything wrong with them?
    Claim(
        "The four real sets have 957 pairs of 730 patients: the 138 films of Montgomery are also in "
        "`chest-xray-masks-and-labels`, with 452 of Shenzhen, and the 89 slices of `lung-ct-bmp` are among the 140",
        [
            sum(map(len, SHIPPED.values())) + len(FILMS),
            len({*FILMS.index}.union(*(each.index for each in SHIPPED.values()))),
            *(len(SHIPPED[name]) for name in ("montgomery", "shenzhen", "lung-ct-bmp", "finding-lungs-in-ct-data")),
        ],
    ),
    Claim(
        "On films of Shenzhen, it lists 97 % of swapped masks and names the right one for 83 %. It lists 99.6 % of "
        "mirrored masks, all that were shifted by 5 % of the image, and 3 % of the unchanged masks",
        [found("swapped"), found("swapped", "named"), found("mirrored"), SHIFT_PERCENT, found("as they are")],
    ),
    Claim(
        "finds 2 of 7 films with a Dice below 0.85 and flags 3 % of the others, 3 % of CT slices",
        [
            *REVIEW.loc[["montgomery", "shenzhen"], ["of_them_found", "below_0.85"]].sum(),
            0.85,
            percent(false_alarms("montgomery", "shenzhen")),
            percent(REVIEW.loc["finding-lungs-in-ct-data", "false_alarms"]),
        ],
    ),
    Claim(
        "Of their masks, 751 have a Dice below 0.85, and `review` finds 749; of 50 on lung-ct-bmp, which are not among "
        "these, it finds 44. It flags 39 % of the other changed images",
        [
            *(REVIEW_CHANGED["below_0.85"].sum(), 0.85, REVIEW_CHANGED["of_them_found"].sum()),
            *REVIEW_BMP[["below_0.85", "of_them_found"]],
            percent(
                (
                    REVIEW_CHANGED["false_alarms"] * (others := REVIEW_CHANGED["images"] - REVIEW_CHANGED["below_0.85"])
                ).sum()
                / others.sum()
            ),
        ],
    ),
    Claim(
        "It flags 98.6 % of 3,014 wrong inputs (photographs, noise, films turned by 90, 180 and 270 degrees, "
        "half films), and 0.1 % of 3,276 real films and slices, four versions of 819 files",
        [
            *(percent(WRONG_INPUT.loc[True, "mean"]), WRONG_INPUT.loc[True, "size"], 90, 180, 270),
            *(percent(WRONG_INPUT.loc[False, "mean"]), WRONG_INPUT.loc[False, "size"], REAL_FILES),
        ],
    ),
    Claim(
        "it flags 97.8 % (Montgomery) and 92.3 % (Shenzhen)",
        [percent(ON_THEIR_HEAD[name]) for name in ("montgomery", "shenzhen")],
    ),
    # The README's table of results, and what other pages quote
    Claim("comes with lungnb | Montgomery | 138 | 0.967 (0.964 to 0.970) |", shipped_row("montgomery")[:4]),
    Claim("| Shenzhen | 452 | 0.955 (0.952 to 0.957) |", [len(SHIPPED["shenzhen"]), *shipped_row("shenzhen")[1:4]]),
    Claim("| finding-lungs-in-ct-data | 140 | 0.972 (0.933 to 0.981) |", shipped_row("finding-lungs-in-ct-data")[:4]),
    *(
        Claim(f"| {name}, trained on Montgomery | Montgomery, five folds | {text}", [len(FILMS), *fold_row(name)[:3]])
        for name, text in {
            "U-Net": "138 | 0.971 (0.967 to 0.974) |",
            "ResUNet": "138 | 0.970 (0.966 to 0.973) |",
            "R2U-Net": "138 | 0.968 (0.963 to 0.971) |",
        }.items()
    ),
    Claim("The means differ by 0.003 at most", [FOLDS_LEAD.abs().max()]),
    Claim("below 0.005 counts as too small", [EQUIVALENCE_MARGIN]),
    Claim("mean Dice is 0.967 on 138 films", shipped_row("montgomery")[1::-1]),
    Claim("Montgomery has 138 films of 138 patients", [len(FILMS), FILMS["patient"].nunique()]),
    Claim("on the 21 test images. Here", [SEEDS.loc["U-Net", "images"]]),
    Claim("3 ms a slice instead of 7 with Keras", [*INFERENCE.loc[["onnx", "keras"], "ms_slice"]]),
    Claim("to the first mask instead of 6", [SEGMENT.loc["keras", "first_mask_s"]]),
    # Results: five folds
    Claim("Each of the 138 films is tested by", [FOLDS.loc["U-Net", "images"]]),
    Claim("(95 % interval, n = 138)", [95, FOLDS.loc["U-Net", "images"]]),
    Claim("| U-Net | 0.971 (0.967 to 0.974) | 0.016 | 0.001 | 0.004 |", fold_row("U-Net")),
    Claim("| ResUNet | 0.970 (0.966 to 0.973) | 0.019 | 0.000 | 0.004 |", fold_row("ResUNet")),
    Claim("| R2U-Net | 0.968 (0.963 to 0.971) | 0.017 | 0.001 | 0.004 |", fold_row("R2U-Net")),
    Claim(
        "ahead of the ResUNet by 0.001 and of the R2U-Net by 0.003",
        [FOLDS_LEAD["unet", "resunet"], FOLDS_LEAD["unet", "r2unet"]],
    ),
    Claim("is unlikely to be chance (p = 0.001)", [FOLDS_TESTS.loc[("unet", "r2unet"), "p_holm"]]),
    Claim(
        "the R2U-Net (0.716) is behind the U-Net (0.753) by 0.037 (95 % interval 0.023 to 0.050)",
        [
            *(mean_of(BORDERS, "r2unet"), mean_of(BORDERS, "unet"), BORDER_TESTS.loc[("unet", "r2unet"), "difference"]),
            *(95, *BORDER_TESTS.loc[("unet", "r2unet"), ["low", "high"]]),
        ],
    ),
    Claim(
        "no mean changes by more than 0.0003",
        [max(abs(mean_of(ONCE, name) - mean_of(FOLDS_SCORES, name)) for name in ("unet", "resunet", "r2unet"))],
    ),
    Claim("the margin of 0.005, a rule", [EQUIVALENCE_MARGIN]),
    Claim(
        "even its 90 % interval (0.003 to 0.004) lies within the margin of 0.005",
        [90, *FOLDS_TESTS.loc[("unet", "r2unet"), ["low_90", "high_90"]], EQUIVALENCE_MARGIN],
    ),
    # Results: the shipped network
    Claim("| Montgomery | 138 | 0.967 (0.964 to 0.970) | 0.972 | 0.7 % |", shipped_row("montgomery")),
    Claim(
        "| Shenzhen, 452 of `chest-xray-masks-and-labels` | 452 | 0.955 (0.952 to 0.957) | 0.964 | 6.4 % |",
        [len(SHIPPED["shenzhen"]), *shipped_row("shenzhen")],
    ),
    Claim(
        "| finding-lungs-in-ct-data | 140 | 0.972 (0.933 to 0.981) | 0.982 | 2.1 % |",
        shipped_row("finding-lungs-in-ct-data"),
    ),
    Claim("| lung-ct-bmp | 89 | 0.974 (0.932 to 0.985) | 0.982 | 1.1 % |", shipped_row("lung-ct-bmp")),
    Claim("them the mean is 0.979. [All results]", [CT.drop(WRONG).mean()]),
    Claim("Without them the mean is 0.979, not 0.972", [CT.drop(WRONG).mean(), CT.mean()]),
    Claim("are 89 of the same 140", [len(BMP.index.intersection(CT.index)), len(CT)]),
    Claim("without it, the mean of lung-ct-bmp is 0.979", [BMP.drop(WRONG, errors="ignore").mean()]),
    *(
        Claim(text, [*CHANGED.loc[name, ["as it is", "inverted", "photographed", "CLAHE"]]])
        for name, text in {
            "montgomery": "| Montgomery | 0.967 | 0.967 | 0.964 | 0.960 |",
            "shenzhen": "| Shenzhen | 0.955 | 0.955 | 0.953 | 0.953 |",
            "finding-lungs-in-ct-data": "| finding-lungs-in-ct-data | 0.972 | 0.972 | 0.970 | 0.968 |",
            "lung-ct-bmp": "| lung-ct-bmp | 0.974 | 0.974 | 0.972 | 0.970 |",
        }.items()
    ),
    Claim(
        "films without tuberculosis have 0.971 and films with it 0.962",
        [FILMS["dice"][~TUBERCULOSIS].mean(), FILMS["dice"][TUBERCULOSIS].mean()],
    ),
    Claim(
        "it has a mean Dice of 0.958 on 21 test images (0.965 before)",
        [FEW["phantom", 1], len(TEST), FEW["phantom", 0]],
    ),
    Claim(
        "two draws change it by at most 0.001",  # rounded, because the larger change is 0.0009
        [(FEW_DRAWS["phantom", 1] - FEW["phantom", 0]).abs().nsmallest(2).max()],
    ),
    Claim("the third lowers it to 0.945", [FEW_DRAWS["phantom", 1].min()]),
    Claim(
        "With two images, it has 0.965, with five 0.971, and with fifty 0.975",
        [FEW["phantom", count] for count in (2, 5, 50)],
    ),
    Claim(
        "has 0.916 with one image, 0.968 with twenty, and 0.973 with fifty",
        [FEW["scratch", 1], FEW["scratch", 20], FEW["scratch", 50]],
    ),
    Claim(
        "from phantom weights 0.958 to 0.975, from scratch 0.916 to 0.973",
        [
            limit
            for start in ("phantom", "scratch")
            for limit in FEW[start].drop(0, errors="ignore").agg(["min", "max"])
        ],
    ),
    # Results: one split
    Claim(
        "the ResUNet is behind by 0.002 each (p = 0.002 and 0.001)",
        [
            FULL_PAIRS.loc[("unet", "resunet"), "difference"],
            *FULL_PAIRS.loc[[("unet", "resunet"), ("resunet", "r2unet")], "p_holm"],
        ],
    ),
    Claim("(95 % interval, n = 28)", [95, FULL.loc["U-Net", "images"]]),
    Claim("| R2U-Net | 0.978 (0.966 to 0.983) | 0.958 | 50 | 2,231,025 |", full_row("R2U-Net")),
    Claim("| U-Net | 0.978 (0.965 to 0.983) | 0.958 | 50 | 1,945,233 |", full_row("U-Net")),
    Claim("| ResUNet | 0.976 (0.961 to 0.982) | 0.953 | 50 | 2,080,145 |", full_row("ResUNet")),
    Claim("on this film, 0.907 to 0.918", [*FULL_DICE.loc["MCUCXR_0258_1"].agg(["min", "max"])]),
    Claim("the means would be 0.980, 0.980 and 0.978", [*FULL_DICE.drop("MCUCXR_0258_1").mean()]),
    Claim("These 28 films", [len(FULL_TEST)]),
    Claim(
        "0.969 on these 28 and 0.967 on the other 110",
        [FULL_TEST["dice"].mean(), len(FULL_TEST), FULL_OTHERS["dice"].mean(), len(FULL_OTHERS)],
    ),
    Claim(
        "Of the 28 patients, 43 % have tuberculosis; of all 138 patients, 42 %",
        [
            FULL_TEST["patient"].nunique(),
            percent(FULL_TEST.index.str.endswith("_1").mean()),
            FILMS["patient"].nunique(),
            percent(TUBERCULOSIS.mean()),
        ],
    ),
    # Results: recipes
    Claim("| 0.979 (0.968 to 0.984) | 0.959 (0.940 to 0.968) |", recipe("simple-unet")),
    Claim(
        "| U-Net 0.978 (0.971 to 0.982), ResUNet 0.976 (0.951 to 0.983), R2U-Net 0.973 (0.956 to 0.980) | "
        "0.958 (0.943 to 0.965), 0.953 (0.912 to 0.966), 0.948 (0.919 to 0.960) |",
        three_row(),
    ),
    Claim("| 0.966 (0.958 to 0.972) | 0.936 (0.922 to 0.946) |", recipe("cxr-bce-iou")),
    Claim("| 0.982 (0.978 to 0.985) | 0.964 (0.957 to 0.970) |", recipe("ct-hu-pretrained")),
    Claim("| 0.989 (0.987 to 0.991) | 0.979 (0.975 to 0.982) |", recipe("ct-bmp")),
    Claim(
        "here 99.47 % (99.38 to 99.56) and 0.016",
        [
            *(percent(summary("ct-bmp")["accuracy"][key]) for key in ("mean", "low", "high")),
            summary("ct-bmp")["loss"]["mean"],
        ],
    ),
    Claim("Montgomery, 28 test images", [len(table("simple-unet/scores.csv"))]),
    Claim("the same 28 test images", [len(DICE_OF_THREE["unet"])]),
    Claim("Montgomery + Shenzhen, 88 test images", [len(table("cxr-bce-iou/scores.csv"))]),
    Claim("21 test slices", [len(table("ct-hu-pretrained/scores.csv"))]),
    Claim("13 validation slices", [len(table("ct-bmp/scores.csv"))]),
    Claim(
        "Many tables are of 13 to 28 test images",
        [len(table("ct-bmp/scores.csv")), len(table("montgomery-three/unet/scores.csv"))],
    ),
    Claim(
        "the U-Net is better than the R2U-Net by 0.005 (95 % interval 0.002 to 0.013, p = 0.002)",
        [
            *(THREE_PAIRS.loc[("unet", "r2unet"), "difference"], 95),
            *THREE_PAIRS.loc[("unet", "r2unet"), ["low", "high", "p_holm"]],
        ],
    ),
    Claim("On its 28 films", [len(DICE_OF_THREE["unet"])]),
    # Results: networks at an equal budget
    *(
        Claim(text, network_row(NETWORKS.loc[text.split(" | ")[0].strip("| ")]))
        for text in (
            "| ResUNet | 0.973 (0.973 to 0.973) | 0.000 | 0.23 G | 13 |",
            "| U-Net | 0.973 (0.972 to 0.974) | 0.001 | 0.19 G | 12 |",
            "| Attention U-Net | 0.973 (0.972 to 0.973) | 0.001 | 0.20 G | 12 |",
            "| TransUNet | 0.972 (0.970 to 0.973) | 0.002 | 0.23 G | 14 |",
            "| R2U-Net | 0.972 (0.969 to 0.974) | 0.003 | 0.53 G | 19 |",
            "| Compact U-Net | 0.965 (0.964 to 0.966) | 0.001 | 0.04 G | 8 |",
        )
    ),
    Claim(
        "its mean Dice on the validation films is 0.973 (0.970 to 0.975), and that of the profile 0.969 "
        "(0.965 to 0.972)",
        [dices.agg(name) for _, dices in SEARCHED_AGAIN.items() for name in ("mean", "min", "max")],
    ),
    Claim(
        "better with each seed, by 0.004 on average",
        [(SEARCHED_AGAIN["best trial"] - SEARCHED_AGAIN["quick profile"]).mean()],
    ),
    Claim(
        "The learning rate explains 32 % of the variance between trials and the filters 27 % (p = 0.012 and 0.040",
        [*map(percent, SEARCH_EFFECTS["share"][:2]), *SEARCH_EFFECTS["p"][:2]],
    ),
    Claim("Of the 30 trials, 22 were pruned", [len(SEARCHED), (SEARCHED["state"] == "pruned").sum()]),
    Claim("| 0.973 (0.973 to 0.974) | 0.001 | 0.18 G | 9 |", network_row(COMPACT_16.loc["Compact U-Net"])),
    Claim(
        "better than the Compact U-Net by 0.008 each (p = 0.02, 0.01 and 0.02)",
        [
            NETWORKS_TESTS.loc[("unet", "compact_unet"), "difference"],
            *(NETWORKS_TESTS.loc[(name, "compact_unet"), "p_holm"] for name in ("unet", "resunet", "attention_unet")),
        ],
    ),
    Claim("seeds each, 21 test images", [table("networks/seeds.csv")["images"].iloc[0]]),
    # Results: three networks with three seeds
    Claim(
        "U-Net 0.973 (0.958 to 0.979), ResUNet 0.973 (0.955 to 0.980), R2U-Net 0.972 (0.957 to 0.978) on the 21 test "
        "images",
        [
            *(
                value
                for name in ("U-Net", "ResUNet", "R2U-Net")
                for value in spread(SEEDS.loc[name], "dice", "low", "high")
            ),
            SEEDS.loc["U-Net", "images"],
        ],
    ),
    Claim(
        "patients differ by 0.013 to 0.015 (SD) and seeds by 0.000 to 0.003",
        [SEEDS[part].agg(bound) for part in ("patients_sd", "seeds_sd") for bound in ("min", "max")],
    ),
    Claim(
        "the calibration error is 0.008 (U-Net), 0.011 (ResUNet) and 0.012 (R2U-Net). A temperature, chosen on the "
        "validation images, makes it lower for the U-Net (0.007) and higher for the others (0.013 and 0.013)",
        [
            CALIBRATION.loc[name, part]
            for part in ("calibration_error", "corrected_error")
            for name in ("U-Net", "ResUNet", "R2U-Net")
        ],
    ),
    Claim("(17 images of 12 patients)", [*PHANTOM.loc["U-Net", ["images", "patients"]]]),
    Claim("two of 21, contains", [LEFT["images"].max()]),
    Claim(
        "rises from 0.930 to 0.961 (U-Net), from 0.899 to 0.961 (ResUNet) and from 0.930 to 0.959 (R2U-Net)",
        [*LEFT[["worst", "worst_left"]].to_numpy().ravel()],
    ),
    Claim(
        "Montgomery, n = 21 | Shenzhen, n = 68 | phantoms, n = 17 |",
        [AWAY.loc[("montgomery", name), "images"] for name in ("montgomery", "shenzhen", "phantom")],
    ),
    *(
        Claim(
            text, [value for name in ("montgomery", "shenzhen", "phantom") for value in spread(AWAY.loc[trained, name])]
        )
        for trained, text in {
            "montgomery": "| Montgomery | 0.973 (0.958 to 0.979) | 0.913 (0.891 to 0.926) | 0.929 (0.722 to 0.969) |",
            "shenzhen": "| Shenzhen | 0.935 (0.914 to 0.949) | 0.959 (0.948 to 0.966) | 0.949 (0.890 to 0.965) |",
            "phantom": "| phantoms | 0.911 (0.832 to 0.943) | 0.924 (0.909 to 0.934) | 0.985 (0.984 to 0.987) |",
        }.items()
    ),
    # Conclusions
    Claim("with several seeds or folds, it came in 2 to 5 %", [*WRONGLY_ALIKE_REPEATED.agg(["min", "max"])]),
    Claim(
        "With one training, it came in 0 to 5 %, but in 10 to 12 % for 20 and more patients",
        [
            *(WRONGLY_ALIKE.loc[part, "percent"].agg(limit) for part in (~SKEWED, SKEWED) for limit in ("min", "max")),
            20,
        ],
    ),
    # Results: quick profile
    *(
        Claim(f"| {name} | {text} |", quick_row(name))
        for name, text in {
            "phantom": "17 | 0.985 (0.981 to 0.987) | 0.980 (0.978 to 0.983) | 0.983 (0.982 to 0.985)",
            "montgomery": "21 | 0.966 (0.953 to 0.973) | 0.963 (0.947 to 0.971) | 0.959 (0.938 to 0.969)",
            "chest-xray-masks-and-labels": (
                "88 | 0.962 (0.955 to 0.967) | 0.959 (0.939 to 0.968) | 0.962 (0.955 to 0.966)"
            ),
            "finding-lungs-in-ct-data": "21 | 0.982 (0.980 to 0.984) | 0.985 (0.983 to 0.986) | 0.982 (0.980 to 0.984)",
            "lung-ct-bmp": "13 | 0.980 (0.975 to 0.983) | 0.984 (0.981 to 0.986) | 0.981 (0.978 to 0.984)",
        }.items()
    ),
    # How long it takes
    Claim(
        "| 5, 7 and 14 minutes on an AMD EPYC, beside other work |",
        [FULL.loc[name, "training_minutes"] for name in ("U-Net", "ResUNet", "R2U-Net")],
    ),
    Claim("28 X-rays, 41 CT slices, 28 wild ones a second", [DRAWN["xray"], DRAWN["ct"], DRAWN["wild"]]),
    Claim(
        "| 17 s, 1.03 times what Pillow's own encoding takes",
        [PREPARE["lungnb"], PREPARE["lungnb"] / PREPARE["Pillow, all cores"]],
    ),
    Claim("| 5 s (`benchmarks/score.py`)", [table("benchmarks/score.csv", "what").loc["every score", "seconds"]]),
    *(
        Claim(text, [INFERENCE.loc[name, column] for name in ENGINES])
        for column, text in {
            "ms_network_128": "| 2.1 | 2.9 | 5.1 | 51 |",
            "ms_network_256": "| 9 | 11 | 12 | 60 |",
            "ms_slice": "to its cleaned mask | 3.2 | 3.4 | 6.5 | 54 |",
        }.items()
    ),
    Claim(
        "without it, the Dice is 0.934 on Montgomery (0.957 with it) and 0.943 on Shenzhen (0.950 with it)",
        [ADDITIONS.loc[part, name] for name in ("montgomery", "shenzhen") for part in ("reader", "nothing")],
    ),
    Claim(
        "changed the Dice of a data set by at most 0.005",
        [(ADDITIONS.drop("reader") - ADDITIONS.loc["nothing"]).abs().max().max()],
    ),
    Claim(
        "204 images a second, 35 % of the rate",
        [GPU.loc[("mixed", 16), "images_s"], percent(GPU.loc[("mixed", 16), "share_of_matrix_rate"])],
    ),
    Claim("| 4.6, 3.4, 3.8, 2.7 ms |", [*GPU.loc[("latency", 1), "ms_per_image"]]),
    Claim("| 0.36, 0.46, 0.51, 0.43 ms an image |", [*GPU.loc[("latency", 64), "ms_per_image"]]),
    Claim("| 28 s, 20 of them for compiling in the first epoch", [GPU_EPOCHS.sum(), GPU_EPOCHS[0]]),
    Claim("Dice 0.980 (0.968 to 0.984) on", [GPU_DICE[part] for part in ("mean", "low", "high")]),
    Claim("| 0.5 | 0.7 | 6 |", [*SEGMENT.loc[["onnx", "openvino", "keras"], "first_mask_s"]]),
    Claim("| 103 | 92 | 65 |", [*SEGMENT.loc[["onnx", "openvino", "keras"], "files_a_second_512"]]),
    Claim(
        "1, 2 and 4 workers: 42, 40 and 44 (the plain command: 41)",
        [1, 2, 4, *CLUSTER.loc[[1, 2, 4, 0], "films_a_second"]],
    ),
    Claim(
        "| none | 0.967 | 0.953 | 0.979 | 0.979 |",
        curve_row(0, columns=["mean"]),
    ),
    *(Claim(row, [images, *curve_row(images)]) for images, row in CURVE_ROWS.items()),
    Claim(
        "| 20, from random weights | 0.960 (0.957 to 0.962) | 0.944 (0.936 to 0.950) | 0.981 (0.981 to 0.982) "
        "| 0.980 (0.978 to 0.982) |",
        [20, *curve_row(20, "random weights")],
    ),
    Claim("Adapting took 29 s for five images and 50 s for 20", [ADAPTING_SECONDS[5], ADAPTING_SECONDS[20], 20]),
    Claim(
        "the Dice of the other films, from 0.967 to 0.973",
        [DELIVERED.loc["montgomery", column].mean() for column in ("before", "after")],
    ),
    Claim(
        "the adapted network was better by 0.001 than",
        [gain_of(DELIVERED[DELIVERED["kept"] == "before"], "after", "adapted")],
    ),
    Claim(
        "the estimate rose by 0.004, although the Dice of the other films fell by 0.010",
        [
            gain_of(DELIVERED[DELIVERED["after"] == DELIVERED["after"].min()], *columns)
            for columns in (("estimate_before", "estimate_after"), ("after", "before"))
        ],
    ),
    Claim(
        "from 0.967 to a mean Dice of 0.970, and to 0.966 in the worst draw",
        [ONE_FILM.loc[0.35, ("before", "mean")], *ONE_FILM.loc[0.35, "after"]],
    ),
    Claim("Of eight other draws of one film, one is worse, by 0.002", [ONE_FILM_LOSS]),
    Claim("one of eight others did, by 0.002", [ONE_FILM_LOSS]),
    Claim("would give 0.965, and 0.948 in the worst draw", [*ONE_FILM.loc[0.8, "after"]]),
    Claim(
        "the first five had a mean Dice of 0.937 on Montgomery and 0.913 on Shenzhen, five random ones 0.965 and 0.925",
        [order_mean(name, order, "chosen_before") for order in ("uncertain", "random") for name in CORRECTED],
    ),
    Claim(
        "five uncertain films raised the Dice of the other half by 0.0038 and five random ones by 0.0044",
        [order_mean("montgomery", order, "gain") for order in ("uncertain", "random")],
    ),
    Claim(
        "five uncertain films raised it by 0.001, and five random ones lowered it by 0.004",
        [order_mean("shenzhen", "uncertain", "gain"), -order_mean("shenzhen", "random", "gain")],
    ),
    Claim(
        "the uncertain films were better by 0.013 in one draw, by 0.004 in another",
        sorted(ORDER.loc[("shenzhen", "uncertain"), "gain"] - ORDER.loc[("shenzhen", "random"), "gain"])[:0:-1],
    ),
    Claim(
        "stayed the same with them, and rose by 0.007 with random ones",
        [order_mean("shenzhen", "random", "hard_gain")],
    ),
    Claim("a million films are 14 core hours", [CLUSTER.loc[0, "million_core_hours"]]),
    Claim(
        "| 8.7 images a second, 16 with `precision=auto`; a plain script with the same network makes 6.8",
        [TRAINING["lungnb"], TRAINING["lungnb, precision=auto"], TRAINING["plain script"]],
    ),
    Claim("| U-Net | 11.4 | 5.8 | 9.5 |", [*FRAMEWORKS["U-Net"][["lungnb", "PyTorch", "keras-unet-collection"]]]),
    Claim("| ResUNet | 8.3 | 3.9 | |", [*FRAMEWORKS["ResUNet"][["lungnb", "PyTorch"]]]),
    Claim("| R2U-Net | 4.8 | 2.4 | 3.4 |", [*FRAMEWORKS["R2U-Net"][["lungnb", "PyTorch", "keras-unet-collection"]]]),
]
